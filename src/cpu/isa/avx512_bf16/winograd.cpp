// Winograd transforms between images of bfloat16 and products of its pairs, for processors that
// multiply them (AVX512_BF16).
#include <immintrin.h>

#include "cpu/isa/tables.h"
#include "cpu/isa/winograd_transforms.h"

namespace striate::cpu {
namespace {

/// Of one term, or of two, which are rounded together.
struct Pairs {
  typedef BFloat16 Element;
  typedef uint16_t Words __attribute__((vector_size(64)));
  using V = Register<BFloat16>;

  static void store(BFloat16* p, const V (&terms)[1]) { cpu::store<kLanes<BFloat16>>(p, terms[0]); }
  static void stream(BFloat16* p, const V (&terms)[1]) {
    cpu::store<kLanes<BFloat16>>(p, terms[0], true);
  }
  static void store(BFloat16* p, const V (&terms)[2]) {
    const Words words = join(terms);
    __builtin_memcpy(p, &words, sizeof(words));
  }
  static void stream(BFloat16* p, const V (&terms)[2]) {
    store_past_caches(reinterpret_cast<Words*>(p), join(terms));
  }

 private:
  static Words join(const V (&terms)[2]) {
    const Words halves = (Words)_mm512_cvtne2ps_pbh(terms[1], terms[0]);
    return __builtin_shuffle(halves,
                             Words{0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31});
  }
};

}  // namespace

namespace avx512_bf16 {
constexpr WinogradKernels<BFloat16, BFloat16> winograd_pairs{
    kLanes<BFloat16>, {}, make_transforms<BFloat16, Pairs, 5, 3>(), {}, {}};
}  // namespace avx512_bf16

}  // namespace striate::cpu
