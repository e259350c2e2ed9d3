// Views of a part of a tensor.
#include "ops/common.h"

namespace striate {
namespace {

/// Scatters the gradient into the part that was taken.
struct SliceNode : Node {
  SliceNode(const Tensor& x, int dim, int64_t start, int64_t stop, int64_t step)
      : shape(x.shape()), options(options_of(x)), dim(dim), start(start), stop(stop), step(step) {}
  Dims shape;
  TensorOptions options;
  int dim;
  int64_t start, stop, step;

  const char* name() const override { return "slice"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_x = zeros(shape, options);
    copy_into(grads[0], slice(grad_x, dim, start, stop, step));
    return {grad_x};
  }
  void release() override {}
};

struct SelectNode : Node {
  SelectNode(const Tensor& x, int dim, int64_t index)
      : shape(x.shape()), options(options_of(x)), dim(dim), index(index) {}
  Dims shape;
  TensorOptions options;
  int dim;
  int64_t index;

  const char* name() const override { return "select"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_x = zeros(shape, options);
    copy_into(grads[0], select(grad_x, dim, index));
    return {grad_x};
  }
  void release() override {}
};

}  // namespace

Tensor slice(const Tensor& x, int dim, int64_t start, int64_t stop, int64_t step) {
  check_defined("slice", "x", x);
  const int at = wrap_dim("slice", dim, x.dim());
  require<ArgumentError>(step >= 1, "slice: expected step >= 1, got ", step);
  const int64_t size = x.shape()[at];
  const auto clamped = [size](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size);
  };
  const int64_t first = clamped(start), last = clamped(stop);
  Dims shape = x.shape(), strides = x.strides();
  shape[at] = first < last ? (last - first - 1) / step + 1 : 0;
  if (shape[at] > 1) strides[at] *= step;
  const int64_t offset = shape[at] > 0 ? first * x.strides()[at] : 0;
  const Tensor y = view(x, shape, strides, x.impl().offset + offset);
  if (needs_grad({x})) {
    record(std::make_shared<SliceNode>(x, at, first, last, step), {x}, {y});
  }
  return y;
}

Tensor select(const Tensor& x, int dim, int64_t index) {
  check_defined("select", "x", x);
  const int at = wrap_dim("select", dim, x.dim());
  const int64_t size = x.shape()[at];
  require<IndexError>(index >= -size && index < size, "select: expected an index in [", -size, ", ",
                      size, ") for dimension ", at, " of ", x.shape(), ", got ", index);
  const int64_t i = index < 0 ? index + size : index;
  Dims shape, strides;
  for (int d = 0; d < x.dim(); ++d) {
    if (d == at) continue;
    shape.push_back(x.shape()[d]);
    strides.push_back(x.strides()[d]);
  }
  const Tensor y = view(x, shape, strides, x.impl().offset + i * x.strides()[at]);
  if (needs_grad({x})) record(std::make_shared<SelectNode>(x, at, i), {x}, {y});
  return y;
}

}  // namespace striate
