// Polynomials over GF(2), bits reflected: bit 31 of a word is the coefficient of x^0.
#include "io/crc32.h"

#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>

namespace striate {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t times_x(uint32_t value) { return value >> 1 ^ (value & 1 ? 0xEDB88320 : 0); }

using Table = std::array<std::array<uint32_t, 256>, 8>;

/// table[k][b]: the remainder of byte b followed by k zero bytes, which lets eight bytes be looked
/// up at once ("slicing by 8", Kounavis and Berry 2005).
constexpr Table make_table() {
  Table table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = times_x(crc);
    table[0][byte] = crc;
  }
  for (int k = 1; k < 8; ++k) {
    for (int byte = 0; byte < 256; ++byte) {
      const uint32_t crc = table[k - 1][byte];
      table[k][byte] = crc >> 8 ^ table[0][crc & 0xFF];
    }
  }
  return table;
}
constexpr Table kTable = make_table();

/// The remainder of `size` bytes after `crc`, neither of them complemented.
uint32_t by_table(uint32_t crc, const unsigned char* bytes, size_t size) {
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTable[7 - k][word >> (8 * k) & 0xFF];
  }
  for (; size > 0; --size) crc = crc >> 8 ^ kTable[0][(crc ^ *bytes++) & 0xFF];
  return crc;
}

constexpr size_t kLane = sizeof(__m128i), kLanes = 4, kBlock = kLane * kLanes;

/// x^n mod the polynomial, one place up, because a reflected product of 64 by 64 bits is one short.
constexpr int64_t power_of_x(int n) {
  uint32_t value = 0x80000000;
  for (; n > 0; --n) value = times_x(value);
  return static_cast<int64_t>(value) << 1;
}

/// The lane `distance` bits further on that leaves the same remainder: its first 64 bits stand
/// for x^(distance + 64), the others for x^distance, less the 32 that every remainder is shifted.
template <int distance>
[[gnu::target("pclmul")]] __m128i move(__m128i lane) {
  const __m128i powers = _mm_set_epi64x(power_of_x(distance - 32), power_of_x(distance + 32));
  return _mm_xor_si128(_mm_clmulepi64_si128(lane, powers, 0x00),
                       _mm_clmulepi64_si128(lane, powers, 0x11));
}

/// The same by carry-less products ("Fast CRC computation for generic polynomials using PCLMULQDQ",
/// Gopal et al. 2009): four lanes are moved over each block, then onto one another. Whole lanes
/// only, a block or more.
[[gnu::target("pclmul")]] uint32_t by_products(uint32_t crc, const unsigned char* bytes,
                                               size_t size) {
  const auto* source = reinterpret_cast<const __m128i*>(bytes);
  __m128i lanes[kLanes];
  for (size_t k = 0; k < kLanes; ++k) lanes[k] = _mm_loadu_si128(source + k);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (source += kLanes, size -= kBlock; size >= kBlock; source += kLanes, size -= kBlock) {
    for (size_t k = 0; k < kLanes; ++k)
      lanes[k] = _mm_xor_si128(move<8 * kBlock>(lanes[k]), _mm_loadu_si128(source + k));
  }
  __m128i last = lanes[0];
  for (size_t k = 1; k < kLanes; ++k) last = _mm_xor_si128(move<8 * kLane>(last), lanes[k]);
  for (; size >= kLane; ++source, size -= kLane)
    last = _mm_xor_si128(move<8 * kLane>(last), _mm_loadu_si128(source));
  unsigned char rest[kLane];
  std::memcpy(rest, &last, kLane);
  return by_table(0, rest, kLane);
}

}  // namespace

uint32_t crc32(uint32_t crc, const void* data, size_t size) {
  static const bool has_products = __builtin_cpu_supports("pclmul") != 0;
  const auto* bytes = static_cast<const unsigned char*>(data);
  crc = ~crc;
  if (has_products && size >= kBlock) {
    const size_t whole = size / kLane * kLane;
    crc = by_products(crc, bytes, whole);
    bytes += whole;
    size -= whole;
  }
  return ~by_table(crc, bytes, size);
}

}  // namespace striate
