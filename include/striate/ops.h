// Every operation on tensors, forward; each records its own backward when an input requires grad.
// Names, defaults and semantics are PyTorch's. All throw DTypeError on an unsupported or mixed
// element type, DeviceError on mixed devices, ShapeError on shapes that do not fit.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "striate/options.h"
#include "striate/tensor.h"

namespace striate {

// --- Copies and conversions ---------------------------------------------------------------------
Tensor contiguous(const Tensor& x, MemoryFormat format = MemoryFormat::kContiguous);
Tensor clone(const Tensor& x);
Tensor to(const Tensor& x, DType dtype);
Tensor to(const Tensor& x, Device device);

// --- In-place edits (off the tape; throw AutogradError on a tensor the tape is tracking) --------
void fill_(const Tensor& x, double value);
/// Copies `source`, broadcast and converted, into `x`.
void copy_(const Tensor& x, const Tensor& source);
/// x += alpha * other (same shape and type).
void add_(const Tensor& x, const Tensor& other, double alpha = 1);
void mul_(const Tensor& x, double factor);
/// Uniform in [low, high), or normal; consumes the default generator.
void uniform_(const Tensor& x, double low, double high);
void normal_(const Tensor& x, double mean, double stddev);

// --- Views (share storage) ----------------------------------------------------------------------
/// One size may be -1. A view where strides allow, else a copy.
Tensor reshape(const Tensor& x, const Dims& shape);
Tensor flatten(const Tensor& x, int start_dim = 0, int end_dim = -1);
Tensor permute(const Tensor& x, const Dims& order);
Tensor transpose(const Tensor& x, int dim0, int dim1);
Tensor unsqueeze(const Tensor& x, int dim);
Tensor squeeze(const Tensor& x, int dim);
Tensor expand(const Tensor& x, const Dims& shape);
/// x[..., start:stop:step, ...] along `dim`; Python's clamping rules, step >= 1.
Tensor slice(const Tensor& x, int dim, int64_t start, int64_t stop, int64_t step = 1);
/// x[..., index, ...]; the dimension disappears. Throws IndexError.
Tensor select(const Tensor& x, int dim, int64_t index);

// --- Joining, padding, gathering ----------------------------------------------------------------
Tensor cat(const std::vector<Tensor>& parts, int dim = 0);
/// Constant padding; `padding` lists (before, after) pairs from the last dimension backwards.
Tensor pad(const Tensor& x, const Dims& padding, double value = 0);
/// Rows `indices` (int64, 1-D) of dimension `dim`. Throws IndexError before any read.
Tensor index_select(const Tensor& x, int dim, const Tensor& indices);

// --- Arithmetic with NumPy broadcasting ---------------------------------------------------------
Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, const Tensor& b);
/// The scalar takes the dtype and device of the tensor.
Tensor add(const Tensor& a, double b);
Tensor sub(const Tensor& a, double b);
Tensor sub(double a, const Tensor& b);
Tensor mul(const Tensor& a, double b);
Tensor div(const Tensor& a, double b);
Tensor div(double a, const Tensor& b);
Tensor pow(const Tensor& a, double b);
Tensor pow(double a, const Tensor& b);
enum class Comparison : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };
/// Element-wise, broadcast; bool result, off the tape.
Tensor compare(Comparison op, const Tensor& a, const Tensor& b);
Tensor compare(Comparison op, const Tensor& a, double b);
/// Matrix product: (m, k) x (k, n); 1-D operands and equal or broadcast leading batch dimensions
/// as in torch.matmul.
Tensor matmul(const Tensor& a, const Tensor& b);

Tensor neg(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor abs(const Tensor& x);
Tensor relu(const Tensor& x);  ///< relu(NaN) = NaN; derivative 0 at 0
Tensor sigmoid(const Tensor& x);
Tensor tanh(const Tensor& x);

// --- Reductions ---------------------------------------------------------------------------------
/// Over `dims` (empty: all). Integer and bool inputs sum to int64.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Over all elements. NaN propagates; the gradient goes to the first maximum.
Tensor max(const Tensor& x);
/// (values, int64 indices) along `dim`; ties and NaN go to the first index.
std::pair<Tensor, Tensor> max(const Tensor& x, int dim, bool keepdim = false);
Tensor argmax(const Tensor& x, std::optional<int> dim = {}, bool keepdim = false);

// --- Layers -------------------------------------------------------------------------------------
struct Conv2dOptions {
  Size2 stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
};
/// Cross-correlation. x (N, C, H, W), weight (O, C/groups, kh, kw), bias (O) or undefined;
/// result (N, O, OH, OW), OH = (H + 2p - d(kh-1) - 1)/s + 1, stored channels-last.
/// A NaN or infinity in x reaches the results that read it; on the CPU also others, by Winograd's
/// algorithm those of the same tile.
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv2dOptions& options = {});
/// conv2d, plus `residual` of the result's shape if it is defined, through relu if asked: one pass
/// over memory. For inference; throws ArgumentError where a gradient would have to be recorded.
Tensor conv2d_fused(const Tensor& x, const Tensor& weight, const Tensor& bias,
                    const Conv2dOptions& options, const Tensor& residual, bool relu);
/// The algorithms by which conv2d and its gradients are computed, as in "direct" or "winograd4".
struct Conv2dAlgorithms {
  const char *forward, *input_grad, *weight_grad;
};
/// What conv2d takes for such operands: a function of shapes, type and device, not of values.
Conv2dAlgorithms conv2d_algorithms(const Tensor& x, const Tensor& weight,
                                   const Conv2dOptions& options = {});
struct Conv1dOptions {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};
/// x (N, C, L), weight (O, C/groups, k).
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const Conv1dOptions& options = {});
struct ConvTranspose2dOptions {
  Size2 stride = 1, padding = 0, output_padding = 0;
  int64_t groups = 1;
  Size2 dilation = 1;
};
/// The adjoint of conv2d. weight (C, O/groups, kh, kw);
/// OH = (H-1)s - 2p + d(kh-1) + output_padding + 1.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTranspose2dOptions& options = {});
/// x (..., in) times weight (out, in) transposed, plus bias (out).
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

struct Pool2dOptions {
  Size2 kernel = 2;
  std::optional<Size2> stride = {};  ///< defaults to the kernel
  Size2 padding = 0;
  Size2 dilation = 1;  ///< max pooling only
  bool ceil_mode = false;
  bool count_include_pad = true;  ///< average pooling only
  bool relu = false;              ///< max pooling only: of relu(x)
};
/// NaN propagates; ties go to the first index; a window of -inf gives -inf.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options);
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options);
/// x (N, C, L); the options' width fields are used.
Tensor max_pool1d(const Tensor& x, const Pool2dOptions& options);
Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output_size);

struct BatchNormOptions {
  bool training = false;
  double momentum = 0.1;
  double eps = 1e-5;
  bool relu = false;
};
/// Over dimension 1 of x (N, C), (N, C, L) or (N, C, H, W). weight, bias, running_mean and
/// running_var have shape (C) or are undefined. Training normalises with the batch's biased
/// variance and moves the running statistics (unbiased variance) by `momentum`; it throws
/// ShapeError when a channel has a single value. A `residual` of x's shape is added to the result,
/// and relu() applied, in the same pass over memory. (Ioffe and Szegedy 2015.)
Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight, const Tensor& bias, const BatchNormOptions& options = {},
                  const Tensor& residual = {});

/// Zeroes with probability p and scales the rest by 1/(1-p) while training. ArgumentError unless
/// 0 <= p <= 1.
Tensor dropout(const Tensor& x, double p = 0.5, bool training = true);
Tensor softmax(const Tensor& x, int dim);
Tensor log_softmax(const Tensor& x, int dim);
/// x / (k + alpha/size * sum over `size` neighbouring channels of x^2)^beta.
/// (Krizhevsky et al. 2012, section 3.3.)
Tensor local_response_norm(const Tensor& x, int64_t size, double alpha = 1e-4, double beta = 0.75,
                           double k = 1);

// --- Losses -------------------------------------------------------------------------------------
struct LossOptions {
  Reduction reduction = Reduction::kMean;
  int64_t ignore_index = -100;
  double label_smoothing = 0;  ///< cross_entropy only, in [0, 1]
};
/// log-probabilities (N, C, ...) and int64 labels (N, ...). Throws IndexError on a label outside
/// [0, C) other than ignore_index, before any read.
Tensor nll_loss(const Tensor& log_prob, const Tensor& target, const LossOptions& options = {});
/// nll_loss of log_softmax over dimension 1, fused.
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const LossOptions& options = {});
Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction = Reduction::kMean);

}  // namespace striate
