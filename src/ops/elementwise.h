// The strided binary kernel, for ops that choose their own output.
#pragma once

#include "ops/common.h"

namespace striate {

/// y = a op b with operands broadcast to y's shape; all checks are the caller's but that of the
/// element type.
void binary_into(const char* name, BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y);

}  // namespace striate
