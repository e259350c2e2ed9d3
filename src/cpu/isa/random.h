// Random numbers, several lanes at a time.
#pragma once

#include <cstdint>

namespace striate::cpu {

/// The 4 * count normal values of the Philox blocks first, first + 1, ...: see cpu/random.cpp.
template <class T>
using NormalKernel = void (*)(uint64_t seed, uint64_t first, int64_t count, double mean,
                              double stddev, T* y);

}  // namespace striate::cpu
