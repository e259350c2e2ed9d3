// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): value i of a
// stream depends on (seed, offset + i) alone, so every backend and thread count draws the same.
// constexpr, so that nvcc (--expt-relaxed-constexpr) may call it on the device; static, so that
// what src/cpu/isa compiles of it for one instruction set stays there.
#pragma once

#include <cstdint>

namespace striate {

/// The four 32-bit words of one counter block.
struct PhiloxBlock {
  uint32_t word[4];
};

static constexpr PhiloxBlock philox_block(uint64_t seed, uint64_t counter) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  uint32_t c0 = static_cast<uint32_t>(counter), c1 = static_cast<uint32_t>(counter >> 32);
  uint32_t c2 = 0, c3 = 0;
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * c0;
    const uint64_t product1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0;
    const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<uint32_t>(product1);
    c3 = static_cast<uint32_t>(product0);
    c0 = next0;
    c2 = next2;
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

/// Word `position` of the stream; four consecutive positions share a block.
static constexpr uint32_t philox_word(uint64_t seed, uint64_t position) {
  return philox_block(seed, position / 4).word[position % 4];
}

/// Uniform in [0, 1) with 24 bits.
static constexpr float philox_uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

template <class... Rest>
static constexpr double philox_polynomial(double x, double first, Rest... rest) {
  if constexpr (sizeof...(rest) == 0) {
    return first;
  } else {
    return first + x * philox_polynomial(x, rest...);
  }
}

/// A point of the plane whose coordinates sqrt(radius_squared) * cosine and ... * sine are two
/// independent standard normal values (Box and Muller 1958).
struct PhiloxNormal {
  double radius_squared, cosine, sine;
};

/// From two words, in additions, products and one division, to about 1e-15: the logarithm and the
/// cosine of a libm differ between machines in the last bit. So would contracted products: compile
/// callers with -ffp-contract=off. Without branches, so that loops over it become vector code.
static constexpr PhiloxNormal philox_normal(uint32_t radius_word, uint32_t angle_word) {
  // log(2^exponent * m) with m in [0.7, 1.4], by the series of atanh(s) = s + s^3/3 + s^5/5 + ...
  // In float, the exact integer 2^24 (1 - uniform) in [1, 2^24] has both parts in its bits.
  const float whole = static_cast<float>(int32_t{1 << 24} - static_cast<int32_t>(radius_word >> 8));
  const int32_t bits = __builtin_bit_cast(int32_t, whole);
  const double fraction = double{__builtin_bit_cast(float, (bits & 0x7FFFFF) | 0x3F800000)};
  const bool upper = fraction >= 2 * 0.7;
  const double m = upper ? fraction * 0.5 : fraction;
  const int32_t exponent = (bits >> 23) - (127 + 24) + (upper ? 1 : 0);
  const double s = (m - 1) / (m + 1);
  const double log_m =
      2 * s *
      philox_polynomial(s * s, 1, 1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15,
                        1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23);
  const double log = exponent * 0x1.62e42fefa39efp-1 + log_m;

  // The angle in turns, less the nearest quarter turn: at most 1/8, where Taylor's series is short.
  const double turns = double{philox_uniform(angle_word)};
  const int quarter = static_cast<int>(4 * turns + 0.5);
  const double t = (turns - 0.25 * quarter) * 0x1.921fb54442d18p+2;
  const double square = t * t;
  const double sine = t * philox_polynomial(square, 1, -1.0 / 6, 1.0 / 120, -1.0 / 5040,
                                            1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800,
                                            -1.0 / 1307674368000, 1.0 / 355687428096000);
  const double cosine =
      philox_polynomial(square, 1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                        1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000);
  const double c = quarter % 2 == 0 ? cosine : -sine, d = quarter % 2 == 0 ? sine : cosine;
  const double sign = quarter % 4 < 2 ? 1 : -1;
  return {-2 * log, sign * c, sign * d};
}

}  // namespace striate
