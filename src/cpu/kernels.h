// The CPU's kernels, one for each entry of the registry; backend.cpp puts them in its table.
#pragma once

#include "../kernels.h"  // the registry; a plain "kernels.h" would be this file

namespace striate::cpu {

// memory.cpp
void fill(const FillArgs& args, Stream);
void copy(const CopyArgs& args, Stream);
void arange(const ArangeArgs& args, Stream);
// random.cpp
void random(const RandomArgs& args, Stream);
// elementwise.cpp
void unary(const UnaryArgs& args, Stream);
void unary_backward(const UnaryBackwardArgs& args, Stream);
void binary(const BinaryArgs& args, Stream);
void axpby(const AxpbyArgs& args, Stream);
// reduce.cpp
void sum(const SumArgs& args, Stream);
void max(const MaxArgs& args, Stream);
void max_backward(const MaxBackwardArgs& args, Stream);
// index.cpp
void index_select(const IndexSelectArgs& args, Stream);
void index_select_backward(const IndexSelectBackwardArgs& args, Stream);
void find_out_of_range(const FindOutOfRangeArgs& args, Stream);
// conv2d.cpp
Conv2dPlan conv2d_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass);
void conv2d_pack(const Conv2dPackArgs& args, Stream);
void conv2d(const Conv2dArgs& args, Stream);
void conv2d_input_grad(const Conv2dInputGradArgs& args, Stream);
void conv2d_weight_grad(const Conv2dWeightGradArgs& args, Stream);
// pool2d.cpp
void max_pool2d(const MaxPool2dArgs& args, Stream);
void max_pool2d_backward(const MaxPool2dBackwardArgs& args, Stream);
void avg_pool2d(const AvgPool2dArgs& args, Stream);
void avg_pool2d_backward(const AvgPool2dBackwardArgs& args, Stream);
// batch_norm.cpp
void batch_norm(const BatchNormArgs& args, Stream);
void batch_norm_backward(const BatchNormBackwardArgs& args, Stream);
// local_response_norm.cpp
void local_response_norm(const LocalResponseNormArgs& args, Stream);
void local_response_norm_backward(const LocalResponseNormBackwardArgs& args, Stream);
// dropout.cpp
void dropout(const DropoutArgs& args, Stream);
// softmax.cpp
void softmax(const SoftmaxArgs& args, Stream);
void softmax_backward(const SoftmaxBackwardArgs& args, Stream);
// nll_loss.cpp
void nll_loss(const NllLossArgs& args, Stream);
void nll_loss_backward(const NllLossBackwardArgs& args, Stream);
// optim.cpp
void sgd(const SgdArgs& args, Stream);
void adam(const AdamArgs& args, Stream);

}  // namespace striate::cpu
