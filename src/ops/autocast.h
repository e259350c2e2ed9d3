// Conversions that ops apply to their operands while autocast is on; otherwise they return x.
#pragma once

#include "striate/autocast.h"
#include "striate/tensor.h"

namespace striate {

/// An operand of a product: float32 as bfloat16.
Tensor autocast_down(const Tensor& x);
/// The same of a weight: the conversion of a leaf is kept with it until it is edited.
Tensor autocast_weight(const Tensor& weight);
/// An operand of a sum or loss: bfloat16 as float32.
Tensor autocast_up(const Tensor& x);
/// Beside `other`: bfloat16 as float32 if that is float32.
Tensor autocast_to_match(const Tensor& x, const Tensor& other);

}  // namespace striate
