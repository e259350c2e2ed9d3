// Random numbers, bit for bit those of src/cpu/random.cpp: element i belongs to position
// q = offset + i of the stream; uniform values use word q, normal values come in pairs q / 2 from
// words 2 (q / 2) and the next. One thread computes the four values of one Philox block. This file
// is compiled without fused multiply-adds, as its CPU twin is.
#include "entries.h"
#include "philox.cuh"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// Writes values[k], rounded if T is narrower, to the element at position 4 * block + k of the
/// words, if there is one.
template <class T>
__device__ void store_block(T* y, int64_t n, uint64_t offset, int64_t block,
                            const Compute<T> (&values)[kPhiloxWords]) {
  const int64_t first = block * kPhiloxWords - static_cast<int64_t>(offset % kPhiloxWords);
#pragma unroll
  for (int k = 0; k < kPhiloxWords; ++k) {
    const int64_t i = first + k;
    if (i >= 0 && i < n) y[i] = convert<T>(values[k]);
  }
}

template <class T>
__global__ void uniform_kernel(T* y, int64_t n, PhiloxState state, Compute<T> low, Compute<T> range,
                               Compute<T> high) {
  using C = Compute<T>;
  state.resolve();
  for_each_item<1>(philox_blocks(n), [&](int64_t block) {
    const PhiloxBlock words = state.block(block);
    C values[kPhiloxWords];
#pragma unroll
    for (int k = 0; k < kPhiloxWords; ++k) {
      const C value = low + range * static_cast<C>(philox_uniform(words.word[k]));
      values[k] = value < high ? value : low;  // rounding may reach high
    }
    store_block(y, n, state.offset, block, values);
  });
}

template <class T>
__global__ void normal_kernel(T* y, int64_t n, PhiloxState state, double mean, double stddev) {
  using C = Compute<T>;
  state.resolve();
  for_each_item<1>(philox_blocks(n), [&](int64_t block) {
    const PhiloxBlock words = state.block(block);
    C values[kPhiloxWords];
#pragma unroll
    for (int k = 0; k < kPhiloxWords; k += 2) {
      const PhiloxNormal point = philox_normal(words.word[k], words.word[k + 1]);
      const double radius = stddev * sqrt(point.radius_squared);
      values[k] = static_cast<C>(mean + radius * point.cosine);
      values[k + 1] = static_cast<C>(mean + radius * point.sine);
    }
    store_block(y, n, state.offset, block, values);
  });
}

}  // namespace

// --- Launcher -----------------------------------------------------------------------------------

void random(const RandomArgs& a, Stream stream) {
  const PhiloxState state{a.seed, a.offset, a.base};
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using C = Compute<T>;
    T* y = static_cast<T*>(a.y);
    const int64_t blocks = philox_blocks(a.n);
    if (a.distribution == Distribution::kUniform) {
      launch_items<1>("random", uniform_kernel<T>, blocks, stream, y, a.n, state,
                      static_cast<C>(a.a), static_cast<C>(a.b - a.a), static_cast<C>(a.b));
    } else {
      launch_items<1>("random", normal_kernel<T>, blocks, stream, y, a.n, state, a.a, a.b);
    }
  });
}

}  // namespace striate::cuda
