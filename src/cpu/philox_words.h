// Runs of a Philox stream.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/philox.h"

namespace striate::cpu {

/// Words drawn at a time.
inline constexpr int64_t kPhiloxRun = 256;

struct PhiloxStream {
  uint64_t seed, offset;
};
/// Where the Args of a random kernel say that its numbers begin.
template <class Args>
PhiloxStream stream_of(const Args& args) {
  if (args.base == nullptr) return {args.seed, args.offset};
  return {args.base[0], args.base[1] + args.offset};
}

/// Calls body(i, count, words) on runs that cover [begin, end): words[k] is the stream's word at
/// position offset + i + k, for k in [0, count).
template <class Body>
void for_each_philox_run(uint64_t seed, uint64_t offset, int64_t begin, int64_t end,
                         const Body& body) {
  uint32_t words[kPhiloxRun];
  for (int64_t i = begin; i < end;) {
    const uint64_t position = offset + static_cast<uint64_t>(i), first = position / 4;
    const int64_t skip = static_cast<int64_t>(position % 4);
    const int64_t count = std::min(kPhiloxRun - skip, end - i);
    const int64_t blocks = (skip + count + 3) / 4;
    for (int64_t b = 0; b < blocks; ++b) {
      const PhiloxBlock block = philox_block(seed, first + b);
      for (int k = 0; k < 4; ++k) words[4 * b + k] = block.word[k];
    }
    body(i, count, words + skip);
    i += count;
  }
}

}  // namespace striate::cpu
