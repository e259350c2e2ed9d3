// Random numbers, several lanes at a time.
#pragma once

#include <cstdint>

namespace striate::cpu {

struct RandomKernels {
  /// The 4 * count normal values of the Philox blocks first, first + 1, ...: see cpu/random.cpp.
  template <class T>
  void normal(uint64_t seed, uint64_t first, int64_t count, double mean, double stddev,
              T* y) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      normal_float(seed, first, count, mean, stddev, y);
    } else {
      normal_double(seed, first, count, mean, stddev, y);
    }
  }

  template <class T>
  using Normal = void (*)(uint64_t seed, uint64_t first, int64_t count, double mean, double stddev,
                          T* y);
  Normal<float> normal_float;
  Normal<double> normal_double;
};

}  // namespace striate::cpu
