// Integer division for index arithmetic, on host and device.
#pragma once

#include <cstdint>

namespace striate::cuda {

/// Division of [0, 2^31) by a number of that range that is known before the kernel starts.
struct FastDivisor {
  uint32_t divisor = 1, multiplier = uint32_t{1} << 31, shift = 31;

  FastDivisor() = default;
  /// multiplier = ceil(2^shift / divisor) has 32 bits, and its error times 2^31 stays below
  /// 2^shift.
  constexpr explicit FastDivisor(int64_t d) : divisor(static_cast<uint32_t>(d)) {
    while ((int64_t{1} << (shift - 31)) < d) ++shift;
    multiplier =
        static_cast<uint32_t>(((uint64_t{1} << shift) + static_cast<uint64_t>(d) - 1) / divisor);
  }
};
constexpr int32_t operator/(int32_t n, const FastDivisor& d) {
  return static_cast<int32_t>((uint64_t{static_cast<uint32_t>(n)} * d.multiplier) >> d.shift);
}
constexpr int32_t operator%(int32_t n, const FastDivisor& d) {
  return n - n / d * static_cast<int32_t>(d.divisor);
}
/// n becomes the quotient; returns the remainder.
constexpr int32_t split_off(int32_t& n, const FastDivisor& d) {
  const int32_t quotient = n / d, remainder = n - quotient * static_cast<int32_t>(d.divisor);
  n = quotient;
  return remainder;
}

/// The same by any number, for what goes beyond 32 bits.
constexpr int64_t split_off(int64_t& n, int64_t d) {
  const int64_t quotient = n / d, remainder = n - quotient * d;
  n = quotient;
  return remainder;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace striate::cuda
