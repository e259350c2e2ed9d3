// Entry points of the kernel files, for the table in backend.cpp.
#pragma once

#include "kernels.h"

namespace striate::cuda {

// memory.cu
void fill(const FillArgs& args, Stream stream);
void copy(const CopyArgs& args, Stream stream);
void arange(const ArangeArgs& args, Stream stream);

// random.cu
void random(const RandomArgs& args, Stream stream);

// elementwise.cu
void unary(const UnaryArgs& args, Stream stream);
void unary_backward(const UnaryBackwardArgs& args, Stream stream);
void axpby(const AxpbyArgs& args, Stream stream);

// conv2d.cu
Conv2dPlan conv2d_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass);
void conv2d_pack(const Conv2dPackArgs& args, Stream stream);
void conv2d(const Conv2dArgs& args, Stream stream);
void conv2d_input_grad(const Conv2dInputGradArgs& args, Stream stream);
void conv2d_weight_grad(const Conv2dWeightGradArgs& args, Stream stream);

// binary.cu
void binary(const BinaryArgs& args, Stream stream);

}  // namespace striate::cuda
