// The random stream of an op, of which a thread draws one Philox block of four words at a time.
#pragma once

#include "core/philox.h"
#include "index.cuh"

namespace striate::cuda {

inline constexpr int kPhiloxWords = 4;

/// Blocks that hold n consecutive words wherever these start, which a graph does not know.
constexpr int64_t philox_blocks(int64_t n) { return n == 0 ? 0 : n / kPhiloxWords + 2; }

/// See DropoutArgs.
struct PhiloxState {
  uint64_t seed, offset;
  const uint64_t* base;

  /// Takes a recorded graph's numbers from the device's memory, if there are any.
  __device__ void resolve() {
    if (base == nullptr) return;
    seed = base[0];
    offset += base[1];
  }
  /// Block `index` of those that element 0's word lies in the first of.
  __device__ PhiloxBlock block(int64_t index) const {
    return philox_block(seed, offset / kPhiloxWords + static_cast<uint64_t>(index));
  }
};

}  // namespace striate::cuda
