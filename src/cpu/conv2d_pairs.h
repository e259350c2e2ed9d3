// Direct convolution of bfloat16 on processors that multiply pairs of it: see cpu/isa/pairs.h.
#pragma once

#include "cpu/kernels.h"

namespace striate::cpu {

/// Whether the processor and the geometry allow it: channels are summed two by two, so groups must
/// have an even number of them.
bool pairs_apply(const Conv2dGeometry& g, ConvPass pass);

Conv2dPlan pairs_plan(const Conv2dGeometry& g, ConvPass pass);
void pairs_pack(const Conv2dPackArgs& args);
void pairs_conv2d(const Conv2dArgs& args);
void pairs_input_grad(const Conv2dInputGradArgs& args);

Conv2dPlan pairs_weight_grad_plan(const Conv2dGeometry& g);
void pairs_weight_grad(const Conv2dWeightGradArgs& args);

}  // namespace striate::cpu
