// Options that reach the kernels, apart from the tensors: src/kernels.h sees no Tensor.
#pragma once

#include <cstdint>

namespace striate {

enum class Reduction : uint8_t { kNone, kMean, kSum };

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};
/// How many values sgd_scalars() has: the numbers above, in their order.
inline constexpr int kSgdScalars = 4;

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool decoupled = false;  ///< AdamW (Loshchilov and Hutter 2019) when true
};
/// How many values adam_scalars() has: the numbers above, in their order, and 1 - beta^step of
/// both.
inline constexpr int kAdamScalars = 7;

}  // namespace striate
