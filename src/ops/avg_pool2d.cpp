// Average pooling, with fixed windows and with windows that adapt to an output size.
#include "ops/pool2d.h"

namespace striate {
namespace {

struct AvgPool2dNode : Node {
  AvgPool2dNode(const Pool2dGeometry& g, bool count_include_pad, bool adaptive)
      : g(g), count_include_pad(count_include_pad), adaptive(adaptive) {}
  Pool2dGeometry g;
  bool count_include_pad, adaptive;

  const char* name() const override { return adaptive ? "adaptive_avg_pool2d" : "avg_pool2d"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_y = channels_last(grads[0]);
    const Tensor grad_x =
        empty({g.n, g.c, g.h, g.w}, options_of(grad_y), MemoryFormat::kChannelsLast);
    if (grad_x.numel() > 0) {
      launch<AvgPool2dBackwardArgs>(
          name(), grad_y.device(), &KernelTable::avg_pool2d_backward,
          {g, grad_y.dtype(), count_include_pad, adaptive, grad_y.data(), grad_x.data()});
    }
    return {grad_x};
  }
  void release() override {}
};

Tensor average(const char* op, const Tensor& x, const Pool2dGeometry& g, bool count_include_pad,
               bool adaptive) {
  const Tensor source = channels_last(x);
  const Tensor y = empty({g.n, g.c, g.oh, g.ow}, options_of(x), MemoryFormat::kChannelsLast);
  if (y.numel() > 0) {
    launch<AvgPool2dArgs>(op, x.device(), &KernelTable::avg_pool2d,
                          {g, x.dtype(), count_include_pad, adaptive, source.data(), y.data()});
  }
  if (needs_grad({x})) {
    record(std::make_shared<AvgPool2dNode>(g, count_include_pad, adaptive), {x}, {y});
  }
  return y;
}

}  // namespace

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check_defined("avg_pool2d", "input", x);
  require<ShapeError>(options.dilation == Size2(1), "avg_pool2d: expected dilation 1, got ",
                      options.dilation);
  const Pool2dGeometry g = pool2d_geometry("avg_pool2d", x, options, x.shape());
  return average("avg_pool2d", x, g, options.count_include_pad, false);
}

Tensor adaptive_avg_pool2d(const Tensor& x, Size2 output_size) {
  constexpr const char* kOp = "adaptive_avg_pool2d";
  check_pool_input(kOp, x);
  require<ShapeError>(output_size.h > 0 && output_size.w > 0, kOp,
                      ": expected output_size > 0, got ", output_size);
  Pool2dGeometry g{};
  g.n = x.shape()[0];
  g.c = x.shape()[1];
  g.h = x.shape()[2];
  g.w = x.shape()[3];
  g.oh = output_size.h;
  g.ow = output_size.w;
  return average(kOp, x, g, true, true);
}

}  // namespace striate
