// Convolution of bfloat16: by Winograd's transforms, with the processor's products of pairs where
// it has them, or by way of float32.
#pragma once

#include "cpu/kernels.h"

namespace striate::cpu {

/// What Conv2dPlan::algorithm says for bfloat16; Winograd's are the edges of their output tiles.
enum Bfloat16Algorithm : int32_t { kWidened = 0, kPairs = 1 };

Conv2dPlan bfloat16_plan(const Conv2dGeometry& g, ConvPass pass);
void bfloat16_pack(const Conv2dPackArgs& args);
void bfloat16_conv2d(const Conv2dArgs& args);
void bfloat16_input_grad(const Conv2dInputGradArgs& args);
void bfloat16_weight_grad(const Conv2dWeightGradArgs& args);

}  // namespace striate::cpu
