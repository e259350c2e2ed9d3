// Loops of known work, with which the benchmarks measure what the machine can do at most.
#pragma once

#include <cstdint>

namespace striate::cpu {

struct PeakKernels {
  /// Multiply-adds on independent registers, `repeats` times; returns how many scalar operations
  /// that was (a multiply-add is two). Writes one vector's worth of results to `sink`.
  int64_t (*multiply_add)(int64_t repeats, float* sink);
  /// The sum of x[0..n), n a multiple of 256.
  float (*read)(int64_t n, const float* x);
  /// y = a + scale * b, n a multiple of 256.
  void (*triad)(int64_t n, const float* a, const float* b, float scale, float* y);
};

}  // namespace striate::cpu
