// The adjoint of conv2d: its forward is conv2d's input gradient, and the other way round. The
// geometry is that of the convolution, whose input is this operation's output.
#include "ops/autocast.h"
#include "ops/conv2d.h"

namespace striate {
namespace {

/// (size-1)s - 2p + d(k-1) + output_padding + 1.
int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                    int64_t output_padding, const Tensor& x, const Tensor& weight) {
  constexpr const char* kOp = "conv_transpose2d";
  require<ShapeError>(output_padding >= 0 && output_padding < std::max(stride, dilation), kOp,
                      ": expected output_padding in [0, ", std::max(stride, dilation),
                      "), below the stride or the dilation, got ", output_padding);
  const int64_t reach = checked_mul(size - 1, stride, kOp);
  const int64_t extent = checked_add(checked_mul(dilation, kernel - 1, kOp), 1, kOp);
  const int64_t full = checked_add(checked_add(reach, extent, kOp), output_padding, kOp);
  const int64_t cropped = checked_mul(2, padding, kOp);
  require<ShapeError>(full > cropped, kOp, ": expected padding below ", (full + 1) / 2,
                      " for input ", x.shape(), " and weight ", weight.shape(), ", got ", padding);
  return full - cropped;
}

Conv2dGeometry geometry(const Tensor& x, const Tensor& weight,
                        const ConvTranspose2dOptions& options) {
  constexpr const char* kOp = "conv_transpose2d";
  check_conv_options(kOp, options.stride, options.padding, options.dilation, options.groups);
  const Dims &image = x.shape(), &filter = weight.shape();
  require<ShapeError>(image[1] % options.groups == 0, kOp, ": expected groups to divide ", image[1],
                      " input channels, got ", options.groups);
  require<ShapeError>(filter[0] == image[1], kOp, ": expected weight of shape (", image[1],
                      ", O/groups, kh, kw) for input ", image, ", got ", filter);
  Conv2dGeometry g{};
  g.n = image[0];
  g.o = image[1];
  g.oh = image[2];
  g.ow = image[3];
  g.c = checked_mul(filter[1], options.groups, kOp);
  g.kh = filter[2];
  g.kw = filter[3];
  g.stride_h = options.stride.h;
  g.stride_w = options.stride.w;
  g.pad_h = options.padding.h;
  g.pad_w = options.padding.w;
  g.dilation_h = options.dilation.h;
  g.dilation_w = options.dilation.w;
  g.groups = options.groups;
  g.h = output_size(g.oh, g.kh, g.stride_h, g.pad_h, g.dilation_h, options.output_padding.h, x,
                    weight);
  g.w = output_size(g.ow, g.kw, g.stride_w, g.pad_w, g.dilation_w, options.output_padding.w, x,
                    weight);
  check_conv_size(kOp, g);
  return g;
}

struct ConvTranspose2dNode : ConvNode {
  const char* name() const override { return "conv_transpose2d"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(3);
    if (!grads[0].defined()) return result;
    const Tensor grad_y = channels_last(grads[0]);
    const TensorOptions options = options_of(grad_y);
    if (needs_input(0)) {
      result[0] = empty({g.n, g.o, g.oh, g.ow}, options, MemoryFormat::kChannelsLast);
      run_forward(name(), g, grad_y, conv_weight(weight.get(*this)), {}, result[0]);
    }
    if (needs_input(1)) {
      result[1] = empty({g.o, g.c / g.groups, g.kh, g.kw}, options, MemoryFormat::kChannelsLast);
      run_weight_grad(name(), g, grad_y, x.get(*this), result[1]);
    }
    if (needs_input(2)) result[2] = bias_grad(name(), grad_y, g.c, bias_dtype);
    return result;
  }
};

}  // namespace

Tensor conv_transpose2d(const Tensor& input, const Tensor& filters, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  const Tensor x = autocast_down(input), weight = autocast_weight(filters);
  constexpr const char* kOp = "conv_transpose2d";
  check_dim(kOp, "input", x, 4);
  check_dim(kOp, "weight", weight, 4);
  check_conv_operands(kOp, x, weight);
  const Conv2dGeometry g = geometry(x, weight, options);
  check_bias(kOp, x, bias, g.c);
  const Tensor source = channels_last(x);
  const Tensor offset = bias_vector(bias);
  const Tensor y = empty({g.n, g.c, g.h, g.w}, options_of(x), MemoryFormat::kChannelsLast);
  run_input_grad(kOp, g, source, conv_weight(weight), offset, y);
  if (needs_grad({x, weight, bias})) {
    auto node = std::make_shared<ConvTranspose2dNode>();
    node->g = g;
    if (weight.requires_grad()) node->x = SavedTensor(source);
    if (x.requires_grad()) node->weight = SavedTensor(weight);
    if (bias.defined()) node->bias_dtype = bias.dtype();
    record(node, {x, weight, bias}, {y});
  }
  return y;
}

}  // namespace striate
