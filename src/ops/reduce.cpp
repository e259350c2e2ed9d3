// Sums and means over any dimensions.
#include <array>

#include "ops/autocast.h"
#include "ops/common.h"

namespace striate {
namespace {

/// Which dimensions a reduction takes, and the shapes that follow.
struct Reduced {
  std::array<bool, kMaxDims> taken{};
  Dims shape, kept_shape;  // with the taken dimensions dropped, and with them as 1
  int64_t count = 1;       // elements per result
};

Reduced reduced(const char* op, const Tensor& x, const Dims& dims, bool keepdim) {
  Reduced result;
  for (int64_t dim : dims) {
    require<IndexError>(dim >= -x.dim() && dim < x.dim(), op, ": expected dimensions in [",
                        -x.dim(), ", ", x.dim(), "), got ", dims);
    bool& taken = result.taken[dim < 0 ? dim + x.dim() : dim];
    require<ArgumentError>(!taken, op, ": expected each dimension once, got ", dims);
    taken = true;
  }
  for (int d = 0; d < x.dim(); ++d) {
    bool& taken = result.taken[d];
    taken = taken || dims.empty();
    if (taken) result.count *= x.shape()[d];
    result.kept_shape.push_back(taken ? 1 : x.shape()[d]);
    if (keepdim || !taken) result.shape.push_back(result.kept_shape[d]);
  }
  return result;
}

/// y = scale * sum. The gradient is one value for all elements of a sum.
struct SumNode : Node {
  SumNode(const char* op, const Dims& shape, const Dims& kept_shape, double scale)
      : op(op), shape(shape), kept_shape(kept_shape), scale(scale) {}
  const char* op;
  Dims shape, kept_shape;
  double scale;

  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad = reshape(grads[0], kept_shape);
    return {expand(scale == 1 ? grad : mul(grad, scale), shape)};
  }
  void release() override {}
};

Tensor sum_of(const char* op, const Tensor& input, const Reduced& which, double scale) {
  const Tensor x = autocast_up(input);
  const DType dtype = is_floating(x.dtype()) ? x.dtype() : DType::kInt64;
  const Tensor y = empty(which.shape, {dtype, x.device()});
  if (x.numel() == 0) {
    NoGrad guard;
    fill_(y, 0 * scale);  // the mean of nothing, 0 * inf, is NaN
  } else {
    SumArgs args{x.dtype(), dtype, x.data(), y.data(), {}, {}, {}, {}, scale};
    for (int d = 0; d < x.dim(); ++d) {
      (which.taken[d] ? args.reduced : args.kept).push_back(x.shape()[d]);
      (which.taken[d] ? args.reduced_strides : args.kept_strides).push_back(x.strides()[d]);
    }
    order_by_stride(args.reduced, {&args.reduced_strides});
    coalesce(args.reduced, {&args.reduced_strides});
    coalesce(args.kept, {&args.kept_strides});
    launch(op, x.device(), &KernelTable::sum, args);
  }
  if (needs_grad({x})) {
    record(std::make_shared<SumNode>(op, x.shape(), which.kept_shape, scale), {x}, {y});
  }
  return y;
}

}  // namespace

Tensor sum(const Tensor& x, const Dims& dims, bool keepdim) {
  check_defined("sum", "x", x);
  return sum_of("sum", x, reduced("sum", x, dims, keepdim), 1);
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  check_floating("mean", "x", x);
  const Reduced which = reduced("mean", x, dims, keepdim);
  return sum_of("mean", x, which, 1.0 / static_cast<double>(which.count));
}

}  // namespace striate
