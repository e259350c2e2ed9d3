// Cross-correlation of channels-last images.
#include "ops/conv2d.h"

#include "ops/autocast.h"

namespace striate {

void check_conv_options(const char* op, Size2 stride, Size2 padding, Size2 dilation,
                        int64_t groups) {
  require<ShapeError>(stride.h > 0 && stride.w > 0, op, ": expected stride > 0, got ", stride);
  require<ShapeError>(padding.h >= 0 && padding.w >= 0, op, ": expected padding >= 0, got ",
                      padding);
  require<ShapeError>(dilation.h > 0 && dilation.w > 0, op, ": expected dilation > 0, got ",
                      dilation);
  require<ShapeError>(groups > 0, op, ": expected groups > 0, got ", groups);
}

void check_conv_operands(const char* op, const Tensor& x, const Tensor& weight) {
  check_floating(op, "input", x);
  check_defined(op, "weight", weight);
  check_same(op, "input", x, "weight", weight);
  require<ShapeError>(weight.numel() > 0, op, ": expected a weight with elements, got shape ",
                      weight.shape());
  for (int d = 1; d < x.dim(); ++d) {
    require<ShapeError>(x.shape()[d] > 0, op, ": expected channels and pixels, got input ",
                        x.shape());
  }
}

void check_conv_size(const char* op, const Conv2dGeometry& g) {
  const auto padded = [op](int64_t size, int64_t padding) {
    return checked_add(size, checked_mul(2, padding, op), op);
  };
  const int64_t values = checked_numel(
      {std::max<int64_t>(g.n, 1), g.c, padded(g.h, g.pad_h), padded(g.w, g.pad_w)}, op);
  // Borders add at most twice the padded size to each axis; a value has up to eight bytes.
  checked_mul(values, 9 * sizeof(double), op);
}

namespace {

/// (size + 2p - d(k-1) - 1)/s + 1.
int64_t output_size(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation,
                    const Tensor& x, const Tensor& weight) {
  const int64_t padded = checked_add(size, checked_mul(2, padding, "conv2d"), "conv2d");
  const int64_t extent = checked_add(checked_mul(dilation, kernel - 1, "conv2d"), 1, "conv2d");
  require<ShapeError>(extent <= padded,
                      "conv2d: expected a kernel within the padded input, got a "
                      "dilated extent of ",
                      extent, " against ", padded, " for input ", x.shape(), ", weight ",
                      weight.shape(), " and padding ", padding);
  return (padded - extent) / stride + 1;
}

Conv2dGeometry geometry(const Tensor& x, const Tensor& weight, const Conv2dOptions& options) {
  check_conv_options("conv2d", options.stride, options.padding, options.dilation, options.groups);
  const Dims &image = x.shape(), &filter = weight.shape();
  require<ShapeError>(image[1] % options.groups == 0 && filter[0] % options.groups == 0,
                      "conv2d: expected groups to divide ", image[1], " input and ", filter[0],
                      " output channels, got ", options.groups);
  require<ShapeError>(filter[1] == image[1] / options.groups,
                      "conv2d: expected weight of shape (O, ", image[1] / options.groups,
                      ", kh, kw) for input ", image, " and groups ", options.groups, ", got ",
                      filter);
  Conv2dGeometry g{};
  g.n = image[0];
  g.c = image[1];
  g.h = image[2];
  g.w = image[3];
  g.o = filter[0];
  g.kh = filter[2];
  g.kw = filter[3];
  g.stride_h = options.stride.h;
  g.stride_w = options.stride.w;
  g.pad_h = options.padding.h;
  g.pad_w = options.padding.w;
  g.dilation_h = options.dilation.h;
  g.dilation_w = options.dilation.w;
  g.groups = options.groups;
  g.oh = output_size(g.h, g.kh, g.stride_h, g.pad_h, g.dilation_h, x, weight);
  g.ow = output_size(g.w, g.kw, g.stride_w, g.pad_w, g.dilation_w, x, weight);
  check_conv_size("conv2d", g);
  return g;
}

struct Conv2dNode : ConvNode {
  const char* op;
  explicit Conv2dNode(const char* name) : op(name) {}
  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    TensorList none(3);
    return backward_onto(grads, none);
  }
  /// Where a residual block's input splits, adds the other branch's gradient.
  TensorList backward_onto(const TensorList& grads, TensorList& sums) override {
    TensorList result(3);
    if (!grads[0].defined()) return result;
    const Tensor grad_y = channels_last(grads[0]);
    const TensorOptions options = options_of(grad_y);
    if (needs_input(0)) {
      result[0] = empty({g.n, g.c, g.h, g.w}, options, MemoryFormat::kChannelsLast);
      ConvWeight filters = conv_weight(weight.get(*this));
      filters.keep = !needs_input(1);  // one that is trained changes before its next use
      const bool fits = sums[0].defined() && sums[0].dtype() == options.dtype &&
                        sums[0].is_contiguous(MemoryFormat::kChannelsLast);
      run_input_grad(op, g, grad_y, filters, {}, result[0], fits ? &sums[0] : nullptr);
    }
    if (needs_input(1)) {
      result[1] = empty({g.o, g.c / g.groups, g.kh, g.kw}, options, MemoryFormat::kChannelsLast);
      run_weight_grad(op, g, x.get(*this), grad_y, result[1]);
    }
    if (needs_input(2)) result[2] = bias_grad(op, grad_y, g.o, bias_dtype);
    return result;
  }
};

/// Of a channels-last input.
Tensor forward(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
               const Conv2dGeometry& g, const ForwardEpilogue& epilogue) {
  const Tensor offset = bias_vector(bias);
  const Tensor y = empty({g.n, g.o, g.oh, g.ow}, options_of(x), MemoryFormat::kChannelsLast);
  run_forward(op, g, x, conv_weight(weight), offset, y, epilogue);
  return y;
}

Conv2dGeometry checked_geometry(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                const Conv2dOptions& options) {
  check_dim("conv2d", "input", x, 4);
  check_dim("conv2d", "weight", weight, 4);
  check_conv_operands("conv2d", x, weight);
  check_bias("conv2d", x, bias, weight.shape()[0]);
  return geometry(x, weight, options);
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& filters, const Tensor& bias,
              const Conv2dOptions& options) {
  return conv2d_as("conv2d", autocast_down(input), autocast_weight(filters), bias, options);
}

Tensor conv2d_as(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                 const Conv2dOptions& options) {
  const Conv2dGeometry g = checked_geometry(x, weight, bias, options);
  const Tensor source = channels_last(x);
  const bool records = needs_grad({x, weight, bias});
  // A layer that batch norm follows has no bias.
  const Tensor y = forward(op, source, weight, bias, g, {.moments = records && !bias.defined()});
  if (records) {
    auto node = std::make_shared<Conv2dNode>(op);
    node->g = g;
    if (weight.requires_grad()) node->x = SavedTensor(source);
    if (x.requires_grad()) node->weight = SavedTensor(weight);
    if (bias.defined()) node->bias_dtype = bias.dtype();
    record(node, {x, weight, bias}, {y});
  }
  return y;
}

Tensor conv2d_fused(const Tensor& input, const Tensor& filters, const Tensor& bias,
                    const Conv2dOptions& options, const Tensor& term, bool relu) {
  const Tensor x = autocast_down(input), weight = autocast_weight(filters);
  const Tensor residual = autocast_down(term);
  const Conv2dGeometry g = checked_geometry(x, weight, bias, options);
  require<ArgumentError>(!needs_grad({x, weight, bias, residual}),
                         "conv2d_fused: expected gradients to be off, since it is for inference; "
                         "an input requires one");
  if (residual.defined()) {
    check_same("conv2d_fused", "input", x, "residual", residual);
    check_shape("conv2d_fused", "residual", residual, {g.n, g.o, g.oh, g.ow});
  }
  return forward("conv2d_fused", channels_last(x), weight, bias, g,
                 {residual.defined() ? channels_last(residual) : residual, relu});
}

Conv2dAlgorithms conv2d_algorithms(const Tensor& x, const Tensor& weight,
                                   const Conv2dOptions& options) {
  const Conv2dGeometry g = checked_geometry(x, weight, {}, options);
  const auto algorithm = [&](ConvPass pass) { return conv_algorithm("conv2d", g, x, pass); };
  return {algorithm(ConvPass::kForward), algorithm(ConvPass::kInputGrad),
          algorithm(ConvPass::kWeightGrad)};
}

}  // namespace striate
