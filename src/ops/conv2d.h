// What a two-dimensional convolution saves, shared by conv2d and its adjoint.
#pragma once

#include "ops/convolution.h"

namespace striate {

/// Throws ArgumentError unless strides, dilations and groups are positive and paddings are not
/// negative.
void check_conv_options(const char* op, Size2 stride, Size2 padding, Size2 dilation,
                        int64_t groups);
/// Throws ShapeError if one image of x, or the kernel of a weight, has no elements.
void check_conv_operands(const char* op, const Tensor& x, const Tensor& weight);

/// Throws ShapeError if the images that a pass may copy with their borders are beyond counting.
void check_conv_size(const char* op, const Conv2dGeometry& g);

/// conv2d() whose node and kernels go by the name `op`: what conv1d() is made of.
Tensor conv2d_as(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                 const Conv2dOptions& options);

struct ConvNode : Node {
  Conv2dGeometry g{};
  SavedTensor x, weight;
  DType bias_dtype{};

  void release() override {
    x.reset();
    weight.reset();
  }
};

}  // namespace striate
