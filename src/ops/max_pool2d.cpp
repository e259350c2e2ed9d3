#include "ops/pool2d.h"

namespace striate {
namespace {

struct MaxPool2dNode : Node {
  explicit MaxPool2dNode(const char* op) : op(op) {}
  const char* op;
  Pool2dGeometry g{};
  SavedTensor argmax;  // int32, in channels-last order

  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_y = channels_last(grads[0]);
    const Tensor grad_x =
        empty({g.n, g.c, g.h, g.w}, options_of(grad_y), MemoryFormat::kChannelsLast);
    if (grad_x.numel() > 0) {
      launch<MaxPool2dBackwardArgs>(
          op, grad_y.device(), &KernelTable::max_pool2d_backward,
          {g, grad_y.dtype(), grad_y.data(), argmax.get(*this).data<int32_t>(), grad_x.data()});
    }
    return {grad_x};
  }
  void release() override { argmax.reset(); }
};

Tensor max_pool(const char* op, const Tensor& x, const Pool2dOptions& options, const Dims& input) {
  const Pool2dGeometry g = pool2d_geometry(op, x, options, input);
  const bool records = needs_grad({x});
  const Tensor source = channels_last(x);
  const Dims shape = {g.n, g.c, g.oh, g.ow};
  const Tensor y = empty(shape, options_of(x), MemoryFormat::kChannelsLast);
  Tensor argmax;
  if (records) argmax = empty(shape, {DType::kInt32, x.device()}, MemoryFormat::kChannelsLast);
  if (y.numel() > 0) {
    launch<MaxPool2dArgs>(op, x.device(), &KernelTable::max_pool2d,
                          {g, x.dtype(), options.relu, source.data(), y.data(),
                           records ? argmax.data<int32_t>() : nullptr});
  }
  if (records) {
    auto node = std::make_shared<MaxPool2dNode>(op);
    node->g = g;
    node->argmax = SavedTensor(argmax);
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace

Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check_defined("max_pool2d", "input", x);
  return max_pool("max_pool2d", x, options, x.shape());
}

Tensor max_pool1d(const Tensor& x, const Pool2dOptions& options) {
  check_dim("max_pool1d", "input", x, 3);
  Pool2dOptions flat = options;
  flat.kernel.h = 1;
  flat.stride = Size2(1, options.stride.value_or(options.kernel).w);
  flat.padding.h = 0;
  flat.dilation.h = 1;
  return squeeze(max_pool("max_pool1d", unsqueeze(x, 2), flat, x.shape()), 2);
}

}  // namespace striate
