// Maxima and where they are.
#include "ops/common.h"

namespace striate {
namespace {

struct MaxNode : Node {
  Dims shape;
  Split split{};
  SavedTensor indices;

  const char* name() const override { return "max"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_y = row_major(grads[0]);
    const Tensor grad_x = empty(shape, options_of(grad_y));
    if (grad_x.numel() > 0) {
      launch<MaxBackwardArgs>(name(), grad_y.device(), &KernelTable::max_backward,
                              {grad_y.dtype(), grad_y.data(), indices.get(*this).data<int64_t>(),
                               grad_x.data(), split.outer, split.n, split.inner});
    }
    return {grad_x};
  }
  void release() override { indices.reset(); }
};

struct Maxima {
  Tensor values, indices;
};

/// Over the middle of x, seen row-major as [outer][n][inner]; `shape` is the result's.
Maxima maxima(const char* op, const Tensor& x, const Split& split, const Dims& shape,
              bool wants_values, bool wants_indices) {
  require<ShapeError>(split.n > 0, op, ": expected at least one element to choose from, got ",
                      x.shape());
  const bool records = wants_values && needs_grad({x});
  const Tensor source = row_major(x);
  Maxima result;
  if (wants_values) result.values = empty(shape, options_of(x));
  if (wants_indices || records) result.indices = empty(shape, {DType::kInt64, x.device()});
  if (x.numel() > 0) {
    launch<MaxArgs>(op, x.device(), &KernelTable::max,
                    {x.dtype(), source.data(), wants_values ? result.values.data() : nullptr,
                     result.indices.defined() ? result.indices.data<int64_t>() : nullptr,
                     split.outer, split.n, split.inner});
  }
  if (records) {
    auto node = std::make_shared<MaxNode>();
    node->shape = x.shape();
    node->split = split;
    node->indices = SavedTensor(result.indices);
    record(node, {x}, {result.values});
  }
  return result;
}

Dims reduced_shape(const Dims& shape, int dim, bool keepdim) {
  Dims result;
  for (int d = 0; d < shape.size(); ++d) {
    if (d != dim) result.push_back(shape[d]);
    if (d == dim && keepdim) result.push_back(1);
  }
  return result;
}

}  // namespace

Tensor max(const Tensor& x) {
  check_defined("max", "x", x);
  return maxima("max", x, {1, x.numel(), 1}, {}, true, false).values;
}

std::pair<Tensor, Tensor> max(const Tensor& x, int dim, bool keepdim) {
  check_defined("max", "x", x);
  const int at = wrap_dim("max", dim, x.dim());
  const Dims shape = reduced_shape(x.shape(), at, keepdim);
  const Maxima result = maxima("max", x, split_at(x.shape(), at), shape, true, true);
  return {result.values, result.indices};
}

Tensor argmax(const Tensor& x, std::optional<int> dim, bool keepdim) {
  check_defined("argmax", "x", x);
  if (!dim) {
    const Dims shape = keepdim ? Dims::filled(x.dim(), 1) : Dims();
    return maxima("argmax", x, {1, x.numel(), 1}, shape, false, true).indices;
  }
  const int at = wrap_dim("argmax", *dim, x.dim());
  const Dims shape = reduced_shape(x.shape(), at, keepdim);
  return maxima("argmax", x, split_at(x.shape(), at), shape, false, true).indices;
}

}  // namespace striate
