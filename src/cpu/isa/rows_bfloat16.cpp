// Conversions between float and bfloat16.
#include "cpu/isa/tables.h"

namespace striate::cpu {
namespace {

void widen(int64_t n, const BFloat16* x, float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = value_of(x[i]);
}

void narrow(int64_t n, const float* x, BFloat16* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = to_bfloat16(x[i]);
}

}  // namespace

namespace STRIATE_ISA {
constexpr ConvertKernels convert{.widen = widen, .narrow = narrow};
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
