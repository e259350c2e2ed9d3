// Mixed precision: products in bfloat16, parameters and what must not lose digits in float32.
#pragma once

#include "striate/types.h"

namespace striate {

/// Whether operations on this thread convert their operands; see Autocast.
bool autocast_enabled();
void set_autocast_enabled(bool enabled);

/// Turns autocast on (or off) for a scope, on this thread. While it is on, convolutions, linear
/// layers and matrix products take float32 operands as bfloat16, with sums in float32; softmax,
/// losses, sums and means take bfloat16 operands as float32; an element-wise operation or cat of
/// both types is done in float32; the rest works in the type that comes. A parameter stays float32
/// and so does its gradient; its conversion is kept until it is edited. Backward passes run in the
/// types of their forward, so only the forward belongs into the scope.
class Autocast {
 public:
  /// Throws DTypeError unless dtype is bfloat16.
  explicit Autocast(DType dtype = DType::kBFloat16, bool enabled = true);
  ~Autocast() { set_autocast_enabled(previous_); }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool previous_;
};

}  // namespace striate
