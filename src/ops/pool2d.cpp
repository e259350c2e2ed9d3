#include "ops/pool2d.h"

namespace striate {
namespace {

/// PyTorch's rule: with ceil_mode a last, partial window counts if it starts inside the input or
/// the padding before it.
int64_t output_size(const char* op, int64_t size, int64_t kernel, int64_t stride, int64_t padding,
                    int64_t dilation, bool ceil_mode, const Dims& input) {
  const int64_t padded = checked_add(size, 2 * padding, op);
  const int64_t extent = checked_add(checked_mul(dilation, kernel - 1, op), 1, op);
  int64_t last = padded - extent;  // start of the last whole window, in the padded input
  if (ceil_mode && last > -stride) last = checked_add(last, stride - 1, op);
  require<ShapeError>(last >= 0, op,
                      ": expected a window within the padded input, got an extent of ", extent,
                      " against ", padded, " for input ", input);
  int64_t count = last / stride + 1;
  if (ceil_mode && (count - 1) * stride >= size + padding) --count;
  return count;
}

}  // namespace

void check_pool_input(const char* op, const Tensor& x) {
  check_floating(op, "input", x);
  check_dim(op, "input", x, 4);
  require<ShapeError>(x.shape()[1] > 0 && x.shape()[2] > 0 && x.shape()[3] > 0, op,
                      ": expected channels and pixels, got input ", x.shape());
  require<ShapeError>(checked_mul(x.shape()[2], x.shape()[3], op) <= INT32_MAX, op,
                      ": expected fewer than 2^31 pixels in an image, got input ", x.shape());
}

Pool2dGeometry pool2d_geometry(const char* op, const Tensor& x, const Pool2dOptions& options,
                               const Dims& input) {
  check_pool_input(op, x);
  const Size2 kernel = options.kernel, stride = options.stride.value_or(kernel);
  const Size2 padding = options.padding, dilation = options.dilation;
  require<ShapeError>(kernel.h > 0 && kernel.w > 0, op, ": expected kernel > 0, got ", kernel);
  require<ShapeError>(stride.h > 0 && stride.w > 0, op, ": expected stride > 0, got ", stride);
  require<ShapeError>(dilation.h > 0 && dilation.w > 0, op, ": expected dilation > 0, got ",
                      dilation);
  require<ShapeError>(
      padding.h >= 0 && padding.w >= 0 && padding.h <= kernel.h / 2 && padding.w <= kernel.w / 2,
      op, ": expected padding between 0 and half the kernel ", kernel, ", got ", padding);
  const Dims& s = x.shape();
  const int64_t oh =
      output_size(op, s[2], kernel.h, stride.h, padding.h, dilation.h, options.ceil_mode, input);
  const int64_t ow =
      output_size(op, s[3], kernel.w, stride.w, padding.w, dilation.w, options.ceil_mode, input);
  return {s[0],     s[1],     s[2],     s[3],      oh,        ow,         kernel.h,
          kernel.w, stride.h, stride.w, padding.h, padding.w, dilation.h, dilation.w};
}

}  // namespace striate
