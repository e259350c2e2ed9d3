// bfloat16, the upper half of a float: stored, never computed with. Kernels read it as float and
// round what they write.
#pragma once

#include <cstdint>

namespace striate::cpu {

struct BFloat16 {
  uint16_t bits;
};

/// The type in which elements of type T are computed with.
template <class T>
struct ComputeOf {
  typedef T type;
};
template <>
struct ComputeOf<BFloat16> {
  typedef float type;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

namespace {  // internal to each file: see cpu/isa.h

inline float value_of(BFloat16 x) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16);
}
template <class T>
inline T value_of(T x) {
  return x;
}

/// To nearest, ties to even; a NaN stays one.
inline BFloat16 to_bfloat16(float value) {
  const uint32_t word = __builtin_bit_cast(uint32_t, value);
  const uint32_t nearest = (word + 0x7FFF + (word >> 16 & 1)) >> 16, nan = word >> 16 | 0x40;
  return {static_cast<uint16_t>(value != value ? nan : nearest)};
}
/// A result as an element of type T.
template <class T>
inline T rounded(Compute<T> value) {
  if constexpr (sizeof(T) == sizeof(BFloat16)) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

}  // namespace
}  // namespace striate::cpu
