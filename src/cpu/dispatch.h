// From a run-time element type to a C++ one, and the sizes of work that all kernels share.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "cpu/isa/bfloat16.h"
#include "striate/types.h"

namespace striate::cpu {

/// Elements of cheap work (a few reads, one write) worth a thread.
inline constexpr int64_t kElementGrain = 32768;
/// The same for items of `elements` elements each.
inline int64_t grain_for(int64_t elements) {
  return std::max<int64_t>(kElementGrain / std::max<int64_t>(elements, 1), 1);
}
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Whether a result goes past the caches, which would lose the first of so much before the last is
/// there: nothing is read before it is overwritten, and computing goes on while lines are written.
/// It does from `least` bytes on, if it is made of whole cache lines, `piece` bytes at a time.
inline bool past_caches(const void* result, int64_t bytes, int64_t least, int64_t piece) {
  constexpr int64_t kLine = 64;
  return bytes >= least && reinterpret_cast<uintptr_t>(result) % kLine == 0 && piece % kLine == 0;
}

/// Conversion between element types. Floating values outside an integer type's range, and NaN,
/// wrap around by way of int64 (its minimum if they do not fit there either).
template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, BFloat16>) {
    return convert<To>(value_of(value));
  } else if constexpr (std::is_same_v<To, BFloat16>) {
    return to_bfloat16(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    const bool fits = value >= From(-0x1p63) && value < From(0x1p63);
    return static_cast<To>(fits ? static_cast<int64_t>(value)
                                : std::numeric_limits<int64_t>::min());
  } else {
    return static_cast<To>(value);
  }
}

/// Calls f with a value of the type, float32 or float64: f([]<class T>(T) { ... }).
template <class Function>
void with_real(DType dtype, const Function& f) {
  dtype == DType::kFloat64 ? f(double{}) : f(float{});
}
/// Any floating type.
template <class Function>
void with_floating(DType dtype, const Function& f) {
  dtype == DType::kBFloat16 ? f(BFloat16{}) : with_real(dtype, f);
}
template <class T>
inline constexpr bool kIsFloating = std::is_floating_point_v<T> || std::is_same_v<T, BFloat16>;

template <class Function>
void with_any(DType dtype, const Function& f) {
  switch (dtype) {
    case DType::kFloat32:
      return f(float{});
    case DType::kFloat64:
      return f(double{});
    case DType::kBFloat16:
      return f(BFloat16{});
    case DType::kInt64:
      return f(int64_t{});
    case DType::kInt32:
      return f(int32_t{});
    case DType::kUInt8:
      return f(uint8_t{});
    case DType::kBool:
      return f(bool{});
  }
}

}  // namespace striate::cpu
