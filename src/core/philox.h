// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): value i of a
// stream depends on (seed, offset + i) alone, so every backend and thread count draws the same.
// constexpr, so that nvcc (--expt-relaxed-constexpr) may call it on the device.
#pragma once

#include <cstdint>

namespace striate {

/// The four 32-bit words of one counter block.
struct PhiloxBlock {
  uint32_t word[4];
};

constexpr PhiloxBlock philox_block(uint64_t seed, uint64_t counter) {
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
constexpr uint32_t philox_word(uint64_t seed, uint64_t position) {
  return philox_block(seed, position / 4).word[position % 4];
}

/// Uniform in [0, 1) with 24 bits.
constexpr float philox_uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

}  // namespace striate
