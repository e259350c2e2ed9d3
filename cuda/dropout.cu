// Dropout (Srivastava et al. 2014), with the mask of src/cpu/dropout.cpp: element i meets word
// offset + i of the Philox stream. A thread has the four elements of one Philox block.
#include <cmath>

#include "entries.h"
#include "philox.cuh"
#include "vector.cuh"

namespace striate::cuda {
namespace {

template <class T>
__global__ void dropout_kernel(const T* x, T* y, int64_t n, bool aligned, PhiloxState state,
                               uint32_t threshold, Compute<T> scale) {
  state.resolve();
  const int64_t skipped = static_cast<int64_t>(state.offset % kPhiloxWords);  // before element 0
  for_each_item<1>(philox_blocks(n), [&](int64_t block) {
    const PhiloxBlock words = state.block(block);
    const int64_t first = block * kPhiloxWords - skipped;
    const auto masked = [&](Compute<T> value, int k) {
      return words.word[k] >> 8 < threshold ? Compute<T>(0) : value * scale;
    };
    if (aligned && skipped == 0 && first + kPhiloxWords <= n) {
      auto v = load<kPhiloxWords>(x + first);
#pragma unroll
      for (int k = 0; k < kPhiloxWords; ++k) v.lane[k] = masked(v.lane[k], k);
      store(y + first, v);
    } else {
#pragma unroll
      for (int k = 0; k < kPhiloxWords; ++k) {
        const int64_t i = first + k;
        if (i >= 0 && i < n) y[i] = convert<T>(masked(convert<Compute<T>>(x[i]), k));
      }
    }
  });
}

}  // namespace

void dropout(const DropoutArgs& a, Stream stream) {
  // u < p for a uniform u of 24 bits is word < threshold.
  const auto threshold = static_cast<uint32_t>(std::ceil(a.p * 0x1p24));
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items<1>("dropout", dropout_kernel<T>, philox_blocks(a.n), stream,
                    static_cast<const T*>(a.x), static_cast<T*>(a.y), a.n,
                    is_aligned(a.x) && is_aligned(a.y), PhiloxState{a.seed, a.offset, a.base},
                    threshold, static_cast<Compute<T>>(a.p < 1 ? 1 / (1 - a.p) : 0));
  });
}

}  // namespace striate::cuda
