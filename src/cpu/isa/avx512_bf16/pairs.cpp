// See cpu/isa/pairs.h. The compiler's header of intrinsics is no standard header: its functions are
// always inlined.
#include "cpu/isa/pairs.h"

#include <immintrin.h>

namespace striate::cpu {
namespace {

__mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>(n >= 16 ? 0xFFFF : n <= 0 ? 0 : (1 << n) - 1);
}

inline __m512 widened(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

template <int kVectors, int kRows>
void tile(const PairTileArgs& args) {
  __m512 acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const __m512 start = _mm512_loadu_ps(args.bias + 16 * v);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][v] = start;
  }
  const BFloat16* a[kRows];
  const BFloat16* b = args.b;
  for (int64_t t = 0; t < args.tap_count; ++t) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) a[r] = args.a[r] + args.taps[t];
    for (int64_t i = 0; i < args.pairs; ++i, b += 32 * kVectors) {
      __m512bh column[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) column[v] = (__m512bh)_mm512_loadu_si512(b + 32 * v);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        int32_t pair;
        __builtin_memcpy(&pair, a[r] + 2 * i, sizeof(pair));
        const __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) acc[r][v] = _mm512_dpbf16_ps(acc[r][v], both, column[v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      const __mmask16 mask = first_lanes(args.n - 16 * v);
      BFloat16* target = args.c[r] + 16 * v;
      __m512 sum = acc[r][v];
      if (args.residual != 0)
        sum = _mm512_add_ps(sum, widened(_mm256_maskz_loadu_epi16(mask, target + args.residual)));
      if (args.relu) {  // keeps NaN
        const __mmask16 zero = _mm512_cmp_ps_mask(sum, _mm512_setzero_ps(), _CMP_LE_OQ);
        sum = _mm512_mask_mov_ps(sum, zero, _mm512_setzero_ps());
      }
      _mm256_mask_storeu_epi16(target, mask, (__m256i)_mm512_cvtneps_pbh(sum));
    }
  }
}

/// One step takes two pixels: their rows of b are interleaved in registers, their values of a by
/// way of memory, where they can be broadcast from. An odd pixel is paired with zeros.
template <int kRows>
void outer(const PairOuterArgs& args) {
  __m512 acc[kRows][2] = {};
  alignas(64) int32_t pairs[16];
  const auto step = [&](__m256i a0, __m256i a1, __m512i b0,
                        __m512i b1) __attribute__((always_inline)) {
    const __m512i upper = _mm512_slli_epi32(_mm512_cvtepu16_epi32(a1), 16);
    _mm512_store_si512(pairs, _mm512_or_si512(_mm512_cvtepu16_epi32(a0), upper));
    // Lanes of 128 bits: columns 0-3, 8-11, 16-19, 24-27 and the others.
    const __m512bh low = (__m512bh)_mm512_unpacklo_epi16(b0, b1);
    const __m512bh high = (__m512bh)_mm512_unpackhi_epi16(b0, b1);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const __m512bh both = (__m512bh)_mm512_set1_epi32(pairs[r]);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], both, low);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], both, high);
    }
  };
  const auto a_at = [](const BFloat16* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  };
  for (int64_t i = 0; i < args.count[0]; ++i) {
    for (int64_t j = 0; j < args.count[1]; ++j) {
      const BFloat16* a = args.a + i * args.a_step[0] + j * args.a_step[1];
      const BFloat16* b = args.b + i * args.b_step[0] + j * args.b_step[1];
      int64_t p = 0;
      for (; p + 2 <= args.count[2]; p += 2, a += 2 * args.a_step[2], b += 2 * args.b_step[2])
        step(a_at(a), a_at(a + args.a_step[2]), _mm512_loadu_si512(b),
             _mm512_loadu_si512(b + args.b_step[2]));
      if (p < args.count[2])
        step(a_at(a), _mm256_setzero_si256(), _mm512_loadu_si512(b), _mm512_setzero_si512());
    }
  }
  const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const __m512i last =
      _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    float* target = args.c + r * args.c_stride;
#pragma GCC unroll 16
    for (int v = 0; v < 2; ++v) {
      const __mmask16 mask = first_lanes(args.n - 16 * v);
      __m512 sum = _mm512_permutex2var_ps(acc[r][0], v == 0 ? first : last, acc[r][1]);
      if (args.accumulate) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, target + 16 * v));
      _mm512_mask_storeu_ps(target + 16 * v, mask, sum);
    }
  }
}

template <int kRows = 1>
constexpr void fill_rows(PairKernels& kernels) {
  kernels.wide[kRows] = tile<2, kRows>;
  kernels.narrow[kRows] = tile<1, kRows>;
  kernels.outer[kRows] = outer<kRows>;
  if constexpr (kRows < kPairRows) fill_rows<kRows + 1>(kernels);
}
constexpr PairKernels make_kernels() {
  PairKernels kernels{};
  fill_rows(kernels);
  return kernels;
}
constexpr PairKernels kKernels = make_kernels();

}  // namespace

const PairKernels& pair_kernels_avx512_bf16() { return kKernels; }

}  // namespace striate::cpu
