// Batch normalisation over rows of channels: a row is a sample, or a pixel of one.
#include <cmath>

#include "ops/autocast.h"
#include "ops/common.h"
#include "ops/row_moments.h"

namespace striate {
namespace {

/// x as dense rows [rows][c]: (N, C), or channels-last (N, C, H, W), where (N, C, L) gets H = 1.
Tensor as_rows(const Tensor& x) {
  NoGrad guard;
  if (x.dim() == 2) return row_major(x);
  return channels_last(x.dim() == 3 ? unsqueeze(x, 2) : x);
}

/// Uninitialised, with the memory order of `rows` and the shape of x.
Tensor like_rows(const Tensor& rows, int dim) {
  NoGrad guard;
  const Tensor y = empty_strided(rows.shape(), rows.strides(), options_of(rows));
  return dim == 3 ? squeeze(y, 2) : y;
}

const void* data_or_null(const Tensor& x) { return x.defined() ? x.data() : nullptr; }

struct BatchNormNode : Node {
  int64_t rows = 0, c = 0;
  int dim = 0;
  bool training = false, relu = false;
  SavedTensor x, weight, bias, mean, invstd;
  SavedTensor y;  // where its sign cannot be computed again

  const char* name() const override { return "batch_norm"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(4);
    if (!grads[0].defined()) return result;
    const bool ours = is_unshared(grads[0]);
    const Tensor grad_y = as_rows(grads[0]);
    const TensorOptions options = options_of(grad_y);
    const Tensor output = y.get(*this);
    if (output.defined()) {
      const bool in_place = ours && grad_y.data() == grads[0].data();
      result[3] = in_place ? grads[0] : like_rows(grad_y, dim);
      bump_version(result[3]);
    } else if (needs_input(3)) {
      result[3] = grads[0];
    }
    if (needs_input(0)) result[0] = like_rows(grad_y, dim);
    const TensorOptions of_channels = {precise(options.dtype), options.device};
    if (needs_input(1)) result[1] = empty({c}, of_channels);
    if (needs_input(2)) result[2] = empty({c}, of_channels);
    if (rows == 0) {
      for (const Tensor& grad : result) {
        if (grad.defined()) fill_(grad, 0);
      }
      return result;
    }
    const auto target = [&](int i) { return result[i].defined() ? result[i].data() : nullptr; };
    void* masked = output.defined() ? result[3].data() : nullptr;
    launch<BatchNormBackwardArgs>(
        name(), grad_y.device(), &KernelTable::batch_norm_backward,
        {grad_y.dtype(), rows, c, training, grad_y.data(), x.get(*this).data(),
         data_or_null(weight.get(*this)), data_or_null(bias.get(*this)), mean.get(*this).data(),
         invstd.get(*this).data(), relu, data_or_null(output), target(0), target(1), target(2),
         masked});
    if (!needs_input(3)) result[3] = Tensor();
    return result;
  }
  void release() override {
    for (SavedTensor* saved : {&x, &weight, &bias, &mean, &invstd, &y}) saved->reset();
  }
};

void check_arguments(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, const Tensor& residual,
                     const BatchNormOptions& options) {
  constexpr const char* kOp = "batch_norm";
  check_floating(kOp, "input", x);
  require<ShapeError>(x.dim() >= 2 && x.dim() <= 4, kOp,
                      ": expected input (N, C), (N, C, L) or (N, C, H, W), got ", x.shape());
  const int64_t c = x.shape()[1];
  require<ShapeError>(c > 0, kOp, ": expected channels, got input ", x.shape());
  const struct {
    const char* name;
    const Tensor& tensor;
    bool edited;  // in place, so never a copy
  } vectors[] = {{"running_mean", running_mean, true},
                 {"running_var", running_var, true},
                 {"weight", weight, false},
                 {"bias", bias, false}};
  for (const auto& vector : vectors) {
    if (!vector.tensor.defined()) continue;
    check_same_precise(kOp, "input", x, vector.name, vector.tensor);
    check_shape(kOp, vector.name, vector.tensor, {c});
    require<ShapeError>(!vector.edited || vector.tensor.is_contiguous(), kOp,
                        ": expected a contiguous ", vector.name, ", got stride ",
                        vector.tensor.strides()[0]);
  }
  if (residual.defined()) {
    check_same(kOp, "input", x, "residual", residual);
    check_shape(kOp, "residual", residual, x.shape());
  }
  require<ArgumentError>(running_mean.defined() == running_var.defined() &&
                             (options.training || running_mean.defined()),
                         kOp, ": expected running_mean and running_var together, ",
                         options.training ? "or neither" : "which evaluation needs", ", got ",
                         running_mean.defined() || running_var.defined() ? "one" : "none");
  require<ArgumentError>(options.eps >= 0 && std::isfinite(options.eps), kOp,
                         ": expected eps >= 0, got ", options.eps);
  require<ArgumentError>(options.momentum >= 0 && options.momentum <= 1, kOp,
                         ": expected momentum in [0, 1], got ", options.momentum);
  if (!options.training) return;
  require<ShapeError>(x.numel() != c, kOp,
                      ": expected more than one value per channel in training, got input ",
                      x.shape());
  if (running_mean.defined()) {
    check_inplace(kOp, running_mean);
    check_inplace(kOp, running_var);
  }
}

}  // namespace

Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight, const Tensor& bias, const BatchNormOptions& options,
                  const Tensor& term) {
  const Tensor x = autocast_to_match(input, term), residual = autocast_to_match(term, input);
  check_arguments(x, running_mean, running_var, weight, bias, residual, options);
  const bool records = needs_grad({x, weight, bias, residual});
  const int64_t c = x.shape()[1], rows = x.numel() / c;
  const Tensor source = as_rows(x);
  const Tensor addend = residual.defined() ? as_rows(residual) : residual;
  const Tensor scale = weight.defined() ? row_major(weight) : weight;
  const Tensor shift = bias.defined() ? row_major(bias) : bias;
  const Tensor y = like_rows(source, x.dim());
  Tensor mean, invstd;
  if (options.training) {
    mean = empty({c}, {precise(x.dtype()), x.device()});
    invstd = empty_like(mean);
  } else if (records) {
    // Copies: the running statistics may move before the backward pass.
    NoGrad guard;
    mean = clone(running_mean);
    invstd = div(1.0, sqrt(add(running_var, options.eps)));
  }
  if (rows > 0) {
    const KeptMoments moments = options.training ? take_moments(x) : KeptMoments{};
    const auto target = [](const Tensor& t) { return t.defined() ? t.data() : nullptr; };
    launch<BatchNormArgs>("batch_norm", x.device(), &KernelTable::batch_norm,
                          {x.dtype(), rows, c, options.training, options.momentum, options.eps,
                           source.data(), data_or_null(scale), data_or_null(shift),
                           target(running_mean), target(running_var), target(mean), target(invstd),
                           data_or_null(addend), options.relu, y.data(), moments.args()});
    if (options.training && running_mean.defined()) {
      bump_version(running_mean);
      bump_version(running_var);
    }
  }
  if (records) {
    auto node = std::make_shared<BatchNormNode>();
    node->rows = rows;
    node->c = c;
    node->dim = x.dim();
    node->training = options.training;
    node->relu = options.relu;
    node->x = SavedTensor(source);
    node->weight = SavedTensor(scale);
    if (options.relu && (addend.defined() || !options.training)) {
      node->y = SavedTensor(y);
    } else if (options.relu) {
      node->bias = SavedTensor(shift);
    }
    node->mean = SavedTensor(mean);
    node->invstd = SavedTensor(invstd);
    record(node, {x, weight, bias, residual}, {y});
  }
  return y;
}

}  // namespace striate
