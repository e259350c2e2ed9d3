// The convolution passes, as conv2d, conv_transpose2d, linear and matmul use them: a linear layer
// is a 1x1 convolution of one pixel. Nothing here records or checks; operands are dense in the
// order kernels.h gives, and a pass without work leaves zeros (or the bias's broadcast).
#pragma once

#include "ops/common.h"

namespace striate {

/// A weight [o][i][kh][kw] of any strides. With `keep`, what is packed from it stays in the
/// tensor's cache until the tensor is edited.
struct ConvWeight {
  Tensor tensor;
  int64_t strides[4];
  bool keep;
};
/// A 4-D weight (O, I, kh, kw).
ConvWeight conv_weight(const Tensor& weight);
/// A 2-D weight (O, I).
ConvWeight linear_weight(const Tensor& weight, bool keep);

/// The product of (rows, in) and (in, out) as a convolution.
Conv2dGeometry linear_geometry(int64_t rows, int64_t in, int64_t out);

/// What is added to a forward's result besides the bias, and what follows.
struct ForwardEpilogue {
  Tensor residual = {};  // dense like the result; undefined for none
  bool relu = false;
  bool moments =
      false;  // a batch norm may follow: leave RowMoments with the result, if that is free
};

void run_forward(const char* op, const Conv2dGeometry& g, const Tensor& x, const ConvWeight& weight,
                 const Tensor& bias, const Tensor& y, const ForwardEpilogue& epilogue = {});
/// Adds `term`, dense like grad_x, and resets it, where a kernel can.
void run_input_grad(const char* op, const Conv2dGeometry& g, const Tensor& grad_y,
                    const ConvWeight& weight, const Tensor& bias, const Tensor& grad_x,
                    Tensor* term = nullptr);
void run_weight_grad(const char* op, const Conv2dGeometry& g, const Tensor& x, const Tensor& grad_y,
                     const Tensor& grad_weight);
/// The name of the algorithm that a pass takes for a channels-last weight.
const char* conv_algorithm(const char* op, const Conv2dGeometry& g, const Tensor& x, ConvPass pass);
/// Throws unless the bias is undefined or has shape (o) and x's type, or float32 beside bfloat16.
void check_bias(const char* op, const Tensor& x, const Tensor& bias, int64_t o);
/// The bias as the kernels read it.
Tensor bias_vector(const Tensor& bias);
/// The gradient of a bias (c) of a type that was added to dense rows [rows][c].
Tensor bias_grad(const char* op, const Tensor& grad_y, int64_t c, DType dtype);

}  // namespace striate
