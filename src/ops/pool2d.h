// The shape rule that the pooling ops share.
#pragma once

#include "ops/common.h"

namespace striate {

/// Checks x (N, C, H, W) and the options; throws ShapeError, which names the caller's input shape.
Pool2dGeometry pool2d_geometry(const char* op, const Tensor& x, const Pool2dOptions& options,
                               const Dims& input);
/// Throws unless x is a floating (N, C, H, W) of at least one channel and pixel.
void check_pool_input(const char* op, const Tensor& x);

}  // namespace striate
