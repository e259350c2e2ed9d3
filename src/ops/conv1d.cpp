// A convolution of images one pixel high; checked here, so that errors speak of x (N, C, L).
#include "ops/autocast.h"
#include "ops/conv2d.h"

namespace striate {

Tensor conv1d(const Tensor& input, const Tensor& filters, const Tensor& bias,
              const Conv1dOptions& options) {
  const Tensor x = autocast_down(input), weight = autocast_weight(filters);
  check_dim("conv1d", "input", x, 3);
  check_dim("conv1d", "weight", weight, 3);
  check_conv_operands("conv1d", x, weight);
  check_bias("conv1d", x, bias, weight.shape()[0]);
  const auto positive = [](const char* what, int64_t value) {
    require<ShapeError>(value > 0, "conv1d: expected ", what, " > 0, got ", value);
  };
  positive("stride", options.stride);
  positive("dilation", options.dilation);
  positive("groups", options.groups);
  require<ShapeError>(options.padding >= 0, "conv1d: expected padding >= 0, got ", options.padding);
  const Dims &signal = x.shape(), &filter = weight.shape();
  require<ShapeError>(signal[1] % options.groups == 0 && filter[0] % options.groups == 0,
                      "conv1d: expected groups to divide ", signal[1], " input and ", filter[0],
                      " output channels, got ", options.groups);
  require<ShapeError>(filter[1] == signal[1] / options.groups,
                      "conv1d: expected weight of shape (O, ", signal[1] / options.groups,
                      ", k) for input ", signal, " and groups ", options.groups, ", got ", filter);
  const int64_t padded =
      checked_add(signal[2], checked_mul(2, options.padding, "conv1d"), "conv1d");
  const int64_t extent =
      checked_add(checked_mul(options.dilation, filter[2] - 1, "conv1d"), 1, "conv1d");
  require<ShapeError>(extent <= padded,
                      "conv1d: expected a kernel within the padded input, got a "
                      "dilated extent of ",
                      extent, " against ", padded, " for input ", signal, ", weight ", filter,
                      " and padding ", options.padding);
  const Conv2dOptions flat{
      {1, options.stride}, {0, options.padding}, {1, options.dilation}, options.groups};
  const Tensor flat_weight = unsqueeze(weight, 2);
  // Packed filters outlive this view: they are kept with the weight.
  derived_cache(weight);
  flat_weight.impl().derived = weight.impl().derived;
  return squeeze(conv2d_as("conv1d", unsqueeze(x, 2), flat_weight, bias, flat), 2);
}

}  // namespace striate
