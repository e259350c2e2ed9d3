// Copies and conversions.
#include "core/capture.h"
#include "ops/common.h"

namespace striate {
namespace {

/// Any op that returns the elements of its input elsewhere, or as another type.
struct CopyNode : Node {
  CopyNode(const char* op, const Tensor& x) : op(op), dtype(x.dtype()), device(x.device()) {}
  const char* op;
  DType dtype;
  Device device;

  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    return {to(to(grads[0], dtype), device)};
  }
  void release() override {}
};

Tensor recorded(const char* op, const Tensor& x, const Tensor& y) {
  if (needs_grad({x})) record(std::make_shared<CopyNode>(op, x), {x}, {y});
  return y;
}

}  // namespace

Tensor contiguous(const Tensor& x, MemoryFormat format) {
  check_defined("contiguous", "x", x);
  if (format == MemoryFormat::kChannelsLast) check_dim("contiguous", "channels-last x", x, 4);
  if (x.is_contiguous(format)) return x;
  const Tensor y = empty(x.shape(), options_of(x), format);
  copy_into(x, y);
  return recorded("contiguous", x, y);
}

Tensor clone(const Tensor& x) {
  check_defined("clone", "x", x);
  const Tensor y = empty_like(x);
  copy_into(x, y);
  return recorded("clone", x, y);
}

Tensor to(const Tensor& x, DType dtype) {
  check_defined("to", "x", x);
  if (x.dtype() == dtype) return x;
  const Tensor y = empty_like(x, dtype);
  copy_into(x, y);
  return is_floating(dtype) ? recorded("to", x, y) : y;
}

Tensor to(const Tensor& x, Device device) {
  check_defined("to", "x", x);
  if (x.device() == device) return x;
  check_not_capturing("to", x.device(), "a copy to another device");
  check_not_capturing("to", device, "a copy from another device");
  const Tensor source = dense(x);
  const Tensor y = empty_strided(x.shape(), source.strides(), {x.dtype(), device});
  const Device transferring = device.type == DeviceType::kCPU ? x.device() : device;
  backend(transferring)
      .transfer(y.data(), device, source.data(), x.device(),
                static_cast<size_t>(x.numel()) * item_size(x.dtype()));
  return recorded("to", x, y);
}

}  // namespace striate
