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

// reduce.cu
void sum(const SumArgs& args, Stream stream);
void max(const MaxArgs& args, Stream stream);
void max_backward(const MaxBackwardArgs& args, Stream stream);

// index.cu
void index_select(const IndexSelectArgs& args, Stream stream);
void index_select_backward(const IndexSelectBackwardArgs& args, Stream stream);
void find_out_of_range(const FindOutOfRangeArgs& args, Stream stream);

// pool2d.cu
void max_pool2d(const MaxPool2dArgs& args, Stream stream);
void max_pool2d_backward(const MaxPool2dBackwardArgs& args, Stream stream);
void avg_pool2d(const AvgPool2dArgs& args, Stream stream);
void avg_pool2d_backward(const AvgPool2dBackwardArgs& args, Stream stream);

// batch_norm.cu
void batch_norm(const BatchNormArgs& args, Stream stream);
void batch_norm_backward(const BatchNormBackwardArgs& args, Stream stream);

// local_response_norm.cu
void local_response_norm(const LocalResponseNormArgs& args, Stream stream);
void local_response_norm_backward(const LocalResponseNormBackwardArgs& args, Stream stream);

// dropout.cu
void dropout(const DropoutArgs& args, Stream stream);

// softmax.cu
void softmax(const SoftmaxArgs& args, Stream stream);
void softmax_backward(const SoftmaxBackwardArgs& args, Stream stream);

// nll_loss.cu
void nll_loss(const NllLossArgs& args, Stream stream);
void nll_loss_backward(const NllLossBackwardArgs& args, Stream stream);

// optim.cu
void sgd(const SgdArgs& args, Stream stream);
void adam(const AdamArgs& args, Stream stream);

}  // namespace striate::cuda
