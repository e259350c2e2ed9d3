// CRC-32 (IEEE 802.3), which finds every burst of up to 32 flipped bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace striate {

/// The checksum of what `crc` covers followed by `size` bytes; 0 covers nothing.
uint32_t crc32(uint32_t crc, const void* data, size_t size);

}  // namespace striate
