// The tile of bfloat16, for processors that multiply pairs of it (AVX512_BF16): sums of
// a[2i] b[2i] + a[2i + 1] b[2i + 1] in float. Denormal numbers count as zero there.
#pragma once

#include <cstdint>

#include "cpu/isa/bfloat16.h"

namespace striate::cpu {

inline constexpr int kPairRows = 14;
inline constexpr int kPairWidth = 32;  // columns; a packed panel may also have half of them

/// c[r][0..n) = the sum over taps t and pairs i of a[r][taps[t] + 2i..] * b[t][i][0..width)[..],
/// plus bias and residual, then relu, rounded.
struct PairTileArgs {
  const BFloat16* const* a;  // [rows] pixel bases in the source
  BFloat16* const* c;        // [rows] pixel bases in the result
  const int64_t* taps;       // [tap_count] offsets of the contiguous runs that a pixel reads
  int64_t tap_count, pairs;
  const BFloat16* b;  // one packed panel, [tap_count][pairs][width][2]
  const float* bias;  // [width]
  int64_t residual;   // distance from a result to another term of it; 0: there is none
  bool relu;
  int64_t n;  // columns to store, at most width
};

/// c[r][0..n) += sum over pixels p of a[p][r] * b[p][0..n), where pixels form a grid of `count`
/// with element strides `a_step` and `b_step`, innermost last. a is readable for 16 elements, b for
/// kPairWidth.
struct PairOuterArgs {
  const BFloat16* a;
  const BFloat16* b;
  int64_t count[3], a_step[3], b_step[3];
  float* c;
  int64_t c_stride;  // between rows
  int64_t n;
  bool accumulate;  // to what c holds
};

struct PairKernels {
  void (*wide[kPairRows + 1])(const PairTileArgs&);    // of kPairWidth columns, for each row count
  void (*narrow[kPairRows + 1])(const PairTileArgs&);  // of half of them
  void (*outer[kPairRows + 1])(const PairOuterArgs&);
};

const PairKernels& pair_kernels_avx512_bf16();

}  // namespace striate::cpu
