// The tile of bfloat16 for processors that multiply pairs of it (AVX512_BF16): sums of
// a[2i] b[2i] + a[2i + 1] b[2i + 1] in float. Denormal numbers count as zero there. The compiler's
// header of intrinsics is no standard header: its functions are always inlined.
#include <immintrin.h>

#include "cpu/isa/gemm_tile.h"
#include "cpu/isa/tables.h"

namespace striate::cpu {
namespace {

__mmask32 first_lanes(int64_t n) { return static_cast<__mmask32>((int64_t{1} << n) - 1); }

struct Pairs {
  typedef float Reg __attribute__((vector_size(64)));
  typedef __m512bh Operand, Factor;
  static constexpr int kLanes = 16;

  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  static void stream(float* p, Reg v) { _mm512_stream_ps(p, v); }
  static Reg load(const BFloat16* p) { return cpu::load<kLanes>(p); }
  static void store(BFloat16* p, Reg v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
  }
  static void stream(BFloat16* p, Reg v) {
    store_past_caches(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(v));
  }

  static Operand operand(const BFloat16* p) { return (__m512bh)_mm512_loadu_si512(p); }
  static Factor factor(const BFloat16* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return (__m512bh)_mm512_set1_epi32(pair);
  }
  static void multiply_add(Reg& sum, Factor a, Operand b) { sum = _mm512_dpbf16_ps(sum, a, b); }

  template <int kRows>
  static void pack_a(const BFloat16* a, int64_t a_step, int64_t count, BFloat16* packed) {
    const __mmask16 rows = static_cast<__mmask16>(first_lanes(kRows));
    for (int64_t p = 0; p < count; p += 2, a += 2 * a_step, packed += 2 * kRows) {
      const __mmask16 second_rows = p + 1 < count ? rows : 0;
      const __m512i first = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(rows, a));
      const __m512i second =
          _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(second_rows, a + a_step));
      _mm512_mask_storeu_epi32(packed, rows, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
    }
  }

  template <int kWidth>
  static void pack_b(const BFloat16* const* b, int64_t offset, int64_t filled, int64_t count,
                     BFloat16* packed) {
    // Each 128 bits of these hold the pairs of four columns.
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __mmask32 columns = first_lanes(filled);
    for (int64_t p = 0; p < count; p += 2, packed += 2 * kWidth) {
      const __m512i first = _mm512_maskz_loadu_epi16(columns, b[p] + offset);
      const __m512i second = p + 1 < count ? _mm512_maskz_loadu_epi16(columns, b[p + 1] + offset)
                                           : _mm512_setzero_si512();
      const __m512i even = _mm512_unpacklo_epi16(first, second);
      const __m512i odd = _mm512_unpackhi_epi16(first, second);
      _mm512_storeu_si512(packed, _mm512_permutex2var_epi64(even, low, odd));
      if constexpr (kWidth > kLanes)
        _mm512_storeu_si512(packed + 32, _mm512_permutex2var_epi64(even, high, odd));
    }
  }
};

}  // namespace

namespace avx512_bf16 {
constexpr GemmKernels<BFloat16> gemm_bfloat16{
    {make_shape<Pairs, BFloat16, 1, 14>(), make_shape<Pairs, BFloat16, 2, 14>(),
     make_shape<Pairs, BFloat16, 4, 6, true>()},
    2,
    3};
}  // namespace avx512_bf16

}  // namespace striate::cpu
