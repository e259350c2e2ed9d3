// Winograd transforms between images of bfloat16 and products of its pairs, for processors that
// multiply them (AVX512_BF16).
#include <immintrin.h>

#include "cpu/isa/tables.h"
#include "cpu/isa/winograd_transforms.h"

namespace striate::cpu {
namespace {

struct Pairs {
  typedef BFloat16 Element;
  using V = Register<BFloat16>;

  static __m256i join(const V (&terms)[1]) { return (__m256i)_mm512_cvtneps_pbh(terms[0]); }
  static __m512i join(const V (&terms)[2]) {
    typedef uint16_t Words __attribute__((vector_size(64)));
    const Words halves = (Words)_mm512_cvtne2ps_pbh(terms[1], terms[0]);
    return (__m512i)__builtin_shuffle(
        halves, Words{0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
  }
  template <int kTerms>
  static void store(BFloat16* p, const V (&terms)[kTerms]) {
    const auto joined = join(terms);
    __builtin_memcpy(p, &joined, sizeof(joined));
  }
  template <int kTerms>
  static void stream(BFloat16* p, const V (&terms)[kTerms]) {
    auto joined = join(terms);
    store_past_caches(reinterpret_cast<decltype(joined)*>(p), joined);
  }
};

}  // namespace

namespace avx512 {
constexpr WinogradKernels<BFloat16, BFloat16> winograd_pairs{
    kLanes<BFloat16>, {}, make_transforms<BFloat16, Pairs, 5, 3>(), {}, {}};
}  // namespace avx512

}  // namespace striate::cpu
