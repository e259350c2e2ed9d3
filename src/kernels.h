// THE registry: one Args struct per kernel and the table that a backend fills.
//
// Args are plain data: pointers, geometry, element type. Kernels trust them: src/ops has checked
// shapes, types, devices and index ranges, and has allocated outputs and workspaces. Unless a
// field says otherwise, outputs are overwritten, arrays are dense and row-major in the order
// their comment gives, and `dtype` is float32, float64 or bfloat16.
//
// With bfloat16 a kernel reads and writes bfloat16, computes and accumulates in float32 (or better)
// and rounds each result once, at the end: to nearest, ties to even; NaN stays NaN. What is an
// exception, because it would lose what the computation is about, is float32 and says so.
#pragma once

#include "striate/options.h"
#include "striate/types.h"

namespace striate {

// --- Memory -------------------------------------------------------------------------------------

struct FillArgs {
  DType dtype;  // any
  void* y;
  int64_t n;
  double value;
};

/// y[i] = convert(x[i]) over a strided index space; any pair of types.
struct CopyArgs {
  DType x_dtype, y_dtype;
  const void* x;
  void* y;
  Dims shape, x_strides, y_strides;  // coalesced, in the order of y's strides; never empty
};

enum class Distribution : uint8_t { kUniform, kNormal };
/// Element i takes value i of the Philox4x32-10 stream (seed, offset): see core/philox.h. bfloat16
/// takes the float32 value, rounded.
struct RandomArgs {
  DType dtype;
  void* y;
  int64_t n;
  Distribution distribution;
  double a, b;  // low, high or mean, stddev
  uint64_t seed, offset;
  const uint64_t* base = nullptr;  // in device memory: see DropoutArgs
};

/// y[i] = start + i * step; any type but bool.
struct ArangeArgs {
  DType dtype;
  void* y;
  int64_t n;
  double start, step;
};

// --- Element-wise -------------------------------------------------------------------------------

enum class UnaryOp : uint8_t { kNeg, kExp, kLog, kSqrt, kAbs, kRelu, kSigmoid, kTanh };
struct UnaryArgs {
  UnaryOp op;
  DType dtype;
  const void* x;
  void* y;
  int64_t n;
};
/// grad_x = grad_y * f'. `saved` is the output for exp, sqrt, relu, sigmoid and tanh, and the
/// input for log and abs (kNeg needs none and has no backward entry).
struct UnaryBackwardArgs {
  UnaryOp op;
  DType dtype;
  const void* grad_y;
  const void* saved;
  void* grad_x;
  int64_t n;
};

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kPow, kEq, kNe, kLt, kLe, kGt, kGe };
/// y = a op b over a strided index space. Operands share `dtype` (any; kDiv and kPow floating
/// only); y has that type, or bool for comparisons.
struct BinaryArgs {
  BinaryOp op;
  DType dtype;
  const void* a;
  const void* b;
  void* y;
  Dims shape, a_strides, b_strides, y_strides;  // coalesced, outermost first; 0 broadcasts
};
/// y = alpha * x + beta * y, dense.
struct AxpbyArgs {
  DType dtype;
  const void* x;  // null: y *= beta
  void* y;
  int64_t n;
  double alpha, beta;
};

// --- Reductions and indexing --------------------------------------------------------------------

/// y[kept] = scale * sum over reduced of x. The sum's order is a pure function of the geometry.
struct SumArgs {
  DType x_dtype;  // any
  DType y_dtype;  // x_dtype when floating, else int64
  const void* x;
  void* y;                        // dense over `kept`
  Dims kept, kept_strides;        // of x, outermost first; these and those below are coalesced
  Dims reduced, reduced_strides;  // of x
  double scale;                   // floating only
};

/// Maximum over the middle of x [outer][n][inner], n >= 1, and the index where it first occurs; a
/// NaN counts as the maximum.
struct MaxArgs {
  DType dtype;  // any
  const void* x;
  void* values;      // [outer][inner]; null: not wanted
  int64_t* indices;  // [outer][inner]; null: not wanted
  int64_t outer, n, inner;
};
/// grad_x [outer][n][inner] = grad_y at `indices`, else 0.
struct MaxBackwardArgs {
  DType dtype;
  const void* grad_y;
  const int64_t* indices;
  void* grad_x;
  int64_t outer, n, inner;
};

/// y [outer][count][inner] = x [outer][n][inner] at indices[count]; any type.
struct IndexSelectArgs {
  DType dtype;
  const void* x;
  const int64_t* indices;
  void* y;
  int64_t outer, n, inner, count;
};
/// grad_x [outer][n][inner] = sum of the rows of grad_y that were taken from it, in index order.
struct IndexSelectBackwardArgs {
  DType dtype;  // not bfloat16
  const void* grad_y;
  const int64_t* indices;
  void* grad_x;
  int64_t outer, n, inner, count;
};
/// *bad = position of the first index outside [low, high) and different from `ignore`, else -1.
struct FindOutOfRangeArgs {
  const int64_t* indices;
  int64_t n, low, high, ignore;
  int64_t* bad;
};

// --- Convolution --------------------------------------------------------------------------------

/// Sizes of a 2-D convolution in PyTorch's terms, and with them its shape rule.
struct Conv2dGeometry {
  int64_t n, c, h, w;  // input; c counts all groups
  int64_t o, kh, kw;   // filters over all groups
  int64_t oh, ow;
  int64_t stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t groups;
};
enum class ConvPass : uint8_t { kForward, kInputGrad, kWeightGrad };
/// How a backend will run a pass: which of its algorithms, and the bytes that this needs besides
/// the operands. What is packed depends on the algorithm and the weight alone and may be kept as
/// long as the weight's version does not change.
struct Conv2dPlan {
  int32_t algorithm;  // the backend's own numbering
  size_t packed, workspace;
  const char* name = "";    // the algorithm's, for reports
  bool as_stored = false;   // what is packed is a dense [o][kh][kw][i]: a weight stored so will do
  int64_t moment_rows = 0;  // of a chunk of RowMoments that a forward pass leaves; 0: none
  int32_t threads = 0;      // that the workspace is for, where each has a part of its own
  bool adds_term = false;   // an input gradient may be given a term
};
/// Statistics of x [rows][c], by chunks of `chunk_rows` rows, of which the last has what is left:
/// values [chunks][2][c] are each chunk's means and sums of squared deviations from them.
struct RowMoments {
  const double* values;
  int64_t chunk_rows;
};
/// Rewrites a weight of any strides [o][i][kh][kw] in the order in which `pass` reads it.
struct Conv2dPackArgs {
  Conv2dGeometry g;
  DType dtype;
  ConvPass pass;  // kForward or kInputGrad
  Conv2dPlan plan;
  const void* weight;
  int64_t weight_strides[4];  // o, i, kh, kw
  void* packed;
};
/// y [n][oh][ow][o] = conv(x [n][h][w][c]) + bias + residual, then relu. With bfloat16 the bias is
/// float32, here and below; x, packed, residual and y are bfloat16.
struct Conv2dArgs {
  Conv2dGeometry g;
  DType dtype;
  Conv2dPlan plan;
  const void* x;
  const void* packed;
  const void* bias;      // null: none
  const void* residual;  // laid out as y; null: none
  bool relu;
  void* y;
  void* workspace;
  double* moments = nullptr;  // of y, as stored, for plan.moment_rows; null: not wanted
};
/// grad_x [n][h][w][c] from grad_y [n][oh][ow][o]. With `bias` (length c) this is the forward of a
/// transposed convolution.
struct Conv2dInputGradArgs {
  Conv2dGeometry g;
  DType dtype;
  Conv2dPlan plan;
  const void* grad_y;
  const void* packed;
  const void* bias;  // null: none
  void* grad_x;
  void* workspace;
  const void* term = nullptr;  // another gradient of x, laid out as grad_x, to be added; null: none
};
/// grad_weight [o][kh][kw][c/groups] from x and grad_y. With bfloat16 the sum over pixels is kept
/// in float32 to its end, however it is split.
struct Conv2dWeightGradArgs {
  Conv2dGeometry g;
  DType dtype;
  Conv2dPlan plan;
  const void* x;
  const void* grad_y;
  void* grad_weight;
  void* workspace;
};

// --- Pooling: x [n][h][w][c], y [n][oh][ow][c] --------------------------------------------------

struct Pool2dGeometry {
  int64_t n, c, h, w, oh, ow;
  int64_t kh, kw, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
};
/// `argmax` receives h * W + w of each maximum; null: not wanted. With `relu`, y is relu of the
/// maximum, and where that is 0 `argmax` is -1: nothing gets the gradient.
struct MaxPool2dArgs {
  Pool2dGeometry g;
  DType dtype;
  bool relu;
  const void* x;
  void* y;
  int32_t* argmax;  // [n][oh][ow][c]
};
struct MaxPool2dBackwardArgs {
  Pool2dGeometry g;
  DType dtype;
  const void* grad_y;
  const int32_t* argmax;
  void* grad_x;
};
/// With `adaptive`, window i covers [floor(i*H/OH), ceil((i+1)*H/OH)) and the rest of the window's
/// geometry is ignored.
struct AvgPool2dArgs {
  Pool2dGeometry g;
  DType dtype;
  bool count_include_pad, adaptive;
  const void* x;
  void* y;
};
struct AvgPool2dBackwardArgs {
  Pool2dGeometry g;
  DType dtype;
  bool count_include_pad, adaptive;
  const void* grad_y;
  void* grad_x;
};

// --- Normalisation ------------------------------------------------------------------------------

/// y [rows][c] = normalised x + residual, then relu. Training computes batch statistics and updates
/// the running ones in place; otherwise the running ones are used and save_* are not written. With
/// bfloat16, all arrays of length c are float32; the backward likewise.
struct BatchNormArgs {
  DType dtype;
  int64_t rows, c;
  bool training;
  double momentum, eps;
  const void* x;
  const void* weight;  // [c]; null: 1
  const void* bias;    // [c]; null: 0
  void* running_mean;  // [c]; null in training: not tracked
  void* running_var;
  void* save_mean;       // [c]
  void* save_invstd;     // [c]
  const void* residual;  // laid out as y; null: none
  bool relu;
  void* y;
  RowMoments moments = {};  // of x; null values: not known yet. Training only
};
/// `mean` and `invstd` are those that the forward used. Any gradient may be null, but the
/// residual's exactly where `y` is: it is grad_y where y > 0, and may take its memory. With `relu`
/// and no y, which then was computed from batch statistics and no residual, its sign is computed
/// again, by the forward's operations.
struct BatchNormBackwardArgs {
  DType dtype;
  int64_t rows, c;
  bool training;
  const void* grad_y;
  const void* x;
  const void* weight;  // null: 1
  const void* bias;    // null: 0; read only to compute y
  const void* mean;
  const void* invstd;
  bool relu;
  const void* y;
  void* grad_x;
  void* grad_weight;
  void* grad_bias;
  void* grad_residual;
};

/// x, y, scale [rows][c]; scale = k + alpha/size * window sum of squares, y = x * scale^-beta.
/// The window of channel i is [i - size/2, i + (size-1)/2] clipped. `scale` is float32 with
/// bfloat16.
struct LocalResponseNormArgs {
  DType dtype;
  int64_t rows, c, size;
  double alpha, beta, k;
  const void* x;
  void* y;
  void* scale;
};
struct LocalResponseNormBackwardArgs {
  DType dtype;
  int64_t rows, c, size;
  double alpha, beta;
  const void* grad_y;
  const void* x;
  const void* scale;
  void* grad_x;
};

/// y = x * keep / (1 - p), keep[i] = (value i of the Philox stream >= p). Forward and backward
/// apply the same mask, which is never stored. In a recorded graph, `base` points to a seed and an
/// offset in device memory, which are others at each replay: the first takes the place of `seed`,
/// the second is added to `offset`.
struct DropoutArgs {
  DType dtype;
  const void* x;
  void* y;
  int64_t n;
  double p;
  uint64_t seed, offset;
  const uint64_t* base = nullptr;
};

// --- Softmax and losses: [outer][n][inner], classes in the middle -------------------------------

struct SoftmaxArgs {
  DType dtype;
  bool log;
  const void* x;
  void* y;
  int64_t outer, n, inner;
};
struct SoftmaxBackwardArgs {
  DType dtype;
  bool log;
  const void* grad_y;
  const void* y;
  void* grad_x;
  int64_t outer, n, inner;
};
/// Loss of one sample: -(1-s) * log_prob[target] - s/n * sum over classes of log_prob, 0 where the
/// target is ignored; kMean divides the sum by the number of targets that are not. `loss` is
/// [outer][inner] for kNone and one value otherwise; `count` receives the number of targets
/// that are not ignored.
struct NllLossArgs {
  DType dtype;  // not bfloat16
  const void* log_prob;
  const int64_t* target;  // [outer][inner]
  void* loss;
  void* count;  // one value of `dtype`
  int64_t outer, n, inner;
  int64_t ignore_index;
  double label_smoothing;
  Reduction reduction;
};
/// Gradient of the above with respect to log_prob, or, with `logits`, to the input of the
/// log-softmax that produced log_prob.
struct NllLossBackwardArgs {
  DType dtype;  // not bfloat16
  const void* grad_loss;
  const void* log_prob;  // read only with `logits`
  const int64_t* target;
  const void* count;
  void* grad_x;
  int64_t outer, n, inner;
  int64_t ignore_index;
  double label_smoothing;
  Reduction reduction;
  bool logits;
};

// --- Optimizers ---------------------------------------------------------------------------------

/// One parameter of a step; `m` and `v` are the optimizer's buffers.
struct OptimizerTensor {
  void* p;
  const void* g;
  void* m;
  void* v;
  int64_t n;
  bool first;  // m holds nothing yet
};
/// `tensors` is in host memory, for the time of the call. `scalars`, if not null, holds in device
/// memory what replaces the numbers: sgd_scalars() or adam_scalars(), which a recorded graph sets
/// before each replay.
struct SgdArgs {
  DType dtype;  // not bfloat16
  const OptimizerTensor* tensors;
  int64_t count;
  SGDOptions options;
  const double* scalars = nullptr;
};
struct AdamArgs {
  DType dtype;  // not bfloat16
  const OptimizerTensor* tensors;
  int64_t count;
  AdamOptions options;
  double bias_correction1, bias_correction2;  // 1 - beta^step
  const double* scalars = nullptr;
};

// --- The table ----------------------------------------------------------------------------------

template <class Args>
using Kernel = void (*)(const Args&, Stream);

/// Reads as a coverage report: a null entry means "not implemented for this device".
struct KernelTable {
  Kernel<FillArgs> fill = nullptr;
  Kernel<CopyArgs> copy = nullptr;
  Kernel<RandomArgs> random = nullptr;
  Kernel<ArangeArgs> arange = nullptr;

  Kernel<UnaryArgs> unary = nullptr;
  Kernel<UnaryBackwardArgs> unary_backward = nullptr;
  Kernel<BinaryArgs> binary = nullptr;
  Kernel<AxpbyArgs> axpby = nullptr;

  Kernel<SumArgs> sum = nullptr;
  Kernel<MaxArgs> max = nullptr;
  Kernel<MaxBackwardArgs> max_backward = nullptr;
  Kernel<IndexSelectArgs> index_select = nullptr;
  Kernel<IndexSelectBackwardArgs> index_select_backward = nullptr;
  Kernel<FindOutOfRangeArgs> find_out_of_range = nullptr;

  Conv2dPlan (*conv2d_plan)(const Conv2dGeometry&, DType, ConvPass) = nullptr;
  Kernel<Conv2dPackArgs> conv2d_pack = nullptr;
  Kernel<Conv2dArgs> conv2d = nullptr;
  Kernel<Conv2dInputGradArgs> conv2d_input_grad = nullptr;
  Kernel<Conv2dWeightGradArgs> conv2d_weight_grad = nullptr;

  Kernel<MaxPool2dArgs> max_pool2d = nullptr;
  Kernel<MaxPool2dBackwardArgs> max_pool2d_backward = nullptr;
  Kernel<AvgPool2dArgs> avg_pool2d = nullptr;
  Kernel<AvgPool2dBackwardArgs> avg_pool2d_backward = nullptr;

  Kernel<BatchNormArgs> batch_norm = nullptr;
  Kernel<BatchNormBackwardArgs> batch_norm_backward = nullptr;
  Kernel<LocalResponseNormArgs> local_response_norm = nullptr;
  Kernel<LocalResponseNormBackwardArgs> local_response_norm_backward = nullptr;
  Kernel<DropoutArgs> dropout = nullptr;

  Kernel<SoftmaxArgs> softmax = nullptr;
  Kernel<SoftmaxBackwardArgs> softmax_backward = nullptr;
  Kernel<NllLossArgs> nll_loss = nullptr;
  Kernel<NllLossBackwardArgs> nll_loss_backward = nullptr;

  Kernel<SgdArgs> sgd = nullptr;
  Kernel<AdamArgs> adam = nullptr;
};

}  // namespace striate
