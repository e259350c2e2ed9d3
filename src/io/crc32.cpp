#include "io/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace striate {
namespace {

static_assert(std::endian::native == std::endian::little);

using Table = std::array<std::array<uint32_t, 256>, 8>;

/// table[k][b]: the remainder of byte b followed by k zero bytes, which lets eight bytes be looked
/// up at once ("slicing by 8", Kounavis and Berry 2005).
constexpr Table make_table() {
  Table table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
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

}  // namespace

uint32_t crc32(uint32_t crc, const void* data, size_t size) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; size >= 8; size -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTable[7 - k][word >> (8 * k) & 0xFF];
  }
  for (; size > 0; --size) crc = crc >> 8 ^ kTable[0][(crc ^ *bytes++) & 0xFF];
  return ~crc;
}

}  // namespace striate
