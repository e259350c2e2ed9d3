// Random numbers, bit for bit those of src/cpu/random.cpp: element i belongs to position
// q = offset + i of the stream; uniform values use word q, normal values come in pairs q / 2 from
// words 2 (q / 2) and the next. One thread computes the four values of one Philox block. This file
// is compiled without fused multiply-adds, as its CPU twin is.
#include "core/philox.h"
#include "entries.h"
#include "index.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// Writes values[k] to the element at position 4 * block + k, if there is one.
template <class T>
__device__ void store_block(T* y, int64_t n, uint64_t offset, uint64_t block,
                            const T (&values)[4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const int64_t i = static_cast<int64_t>(4 * block + k - offset);
    if (i >= 0 && i < n) y[i] = values[k];
  }
}

template <class T>
__global__ void uniform_kernel(T* y, int64_t n, int64_t blocks, uint64_t seed, uint64_t offset,
                               T low, T range, T high) {
  for_each_item(blocks, [&](int64_t b) {
    const uint64_t block = offset / 4 + b;
    const PhiloxBlock words = philox_block(seed, block);
    T values[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const T value = low + range * static_cast<T>(philox_uniform(words.word[k]));
      values[k] = value < high ? value : low;  // rounding may reach high
    }
    store_block(y, n, offset, block, values);
  });
}

template <class T>
__global__ void normal_kernel(T* y, int64_t n, int64_t blocks, uint64_t seed, uint64_t offset,
                              double mean, double stddev) {
  for_each_item(blocks, [&](int64_t b) {
    const uint64_t block = offset / 4 + b;
    const PhiloxBlock words = philox_block(seed, block);
    T values[4];
#pragma unroll
    for (int k = 0; k < 4; k += 2) {
      const PhiloxNormal point = philox_normal(words.word[k], words.word[k + 1]);
      const double radius = stddev * sqrt(point.radius_squared);
      values[k] = static_cast<T>(mean + radius * point.cosine);
      values[k + 1] = static_cast<T>(mean + radius * point.sine);
    }
    store_block(y, n, offset, block, values);
  });
}

}  // namespace

// --- Launcher -----------------------------------------------------------------------------------

void random(const RandomArgs& a, Stream stream) {
  if (a.n == 0) return;
  const uint64_t last = a.offset + static_cast<uint64_t>(a.n) - 1;
  const int64_t blocks = static_cast<int64_t>(last / 4 - a.offset / 4) + 1;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    T* y = static_cast<T*>(a.y);
    if (a.distribution == Distribution::kUniform) {
      launch_items("random", uniform_kernel<T>, blocks, stream, y, a.n, blocks, a.seed, a.offset,
                   static_cast<T>(a.a), static_cast<T>(a.b - a.a), static_cast<T>(a.b));
    } else {
      launch_items("random", normal_kernel<T>, blocks, stream, y, a.n, blocks, a.seed, a.offset,
                   a.a, a.b);
    }
  });
}

}  // namespace striate::cuda
