#include "ops/common.h"

namespace striate {
namespace {

/// The part of a padded tensor that is not padding.
Tensor interior(const Tensor& y, const Dims& before, const Dims& shape) {
  int64_t offset = y.impl().offset;
  if (checked_numel(shape, "pad") > 0) {
    for (int d = 0; d < shape.size(); ++d) offset += before[d] * y.strides()[d];
  }
  return view(y, shape, y.strides(), offset);
}

struct PadNode : Node {
  PadNode(const Dims& before, const Dims& shape) : before(before), shape(shape) {}
  Dims before, shape;

  const char* name() const override { return "pad"; }
  TensorList backward(const TensorList& grads) override {
    return {grads[0].defined() ? interior(grads[0], before, shape) : Tensor()};
  }
  void release() override {}
};

}  // namespace

Tensor pad(const Tensor& x, const Dims& padding, double value) {
  check_defined("pad", "x", x);
  check_scalar("pad", x.dtype(), value);
  require<ShapeError>(padding.size() % 2 == 0 && padding.size() <= 2 * x.dim(),
                      "pad: expected (before, after) pairs for at most ", x.dim(),
                      " dimensions, got ", padding);
  Dims before = Dims::filled(x.dim(), 0), shape = x.shape();
  for (int i = 0; i < padding.size(); i += 2) {
    require<ShapeError>(padding[i] >= 0 && padding[i + 1] >= 0, "pad: expected padding >= 0, got ",
                        padding);
    const int d = x.dim() - 1 - i / 2;
    before[d] = padding[i];
    shape[d] = checked_add(shape[d], checked_add(padding[i], padding[i + 1], "pad"), "pad");
  }
  const bool rows_of_channels = x.is_contiguous(MemoryFormat::kChannelsLast) && !x.is_contiguous();
  const Tensor y =
      empty(shape, options_of(x),
            rows_of_channels ? MemoryFormat::kChannelsLast : MemoryFormat::kContiguous);
  {
    NoGrad guard;
    fill_(y, value);
    copy_into(x, interior(y, before, x.shape()));
  }
  if (needs_grad({x})) record(std::make_shared<PadNode>(before, x.shape()), {x}, {y});
  return y;
}

}  // namespace striate
