// Dropout (Srivastava et al. 2014), with the mask of src/cpu/dropout.cpp: element i meets word
// offset + i of the Philox stream. A thread has the four elements of one Philox block.
#include <cmath>

#include "core/philox.h"
#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

constexpr int kWords = 4;

template <class T>
__global__ void dropout_kernel(const T* x, T* y, int64_t n, int64_t blocks, bool aligned,
                               uint64_t seed, uint64_t offset, uint32_t threshold,
                               Compute<T> scale) {
  const int64_t skipped = static_cast<int64_t>(offset % kWords);  // words before element 0
  for_each_item<1>(blocks, [&](int64_t block) {
    const PhiloxBlock words = philox_block(seed, offset / kWords + static_cast<uint64_t>(block));
    const int64_t first = block * kWords - skipped;
    const auto masked = [&](Compute<T> value, int k) {
      return words.word[k] >> 8 < threshold ? Compute<T>(0) : value * scale;
    };
    if (aligned && first + kWords <= n) {
      auto v = load<kWords>(x + first);
#pragma unroll
      for (int k = 0; k < kWords; ++k) v.lane[k] = masked(v.lane[k], k);
      store(y + first, v);
    } else {
#pragma unroll
      for (int k = 0; k < kWords; ++k) {
        const int64_t i = first + k;
        if (i >= 0 && i < n) y[i] = convert<T>(masked(convert<Compute<T>>(x[i]), k));
      }
    }
  });
}

}  // namespace

void dropout(const DropoutArgs& a, Stream stream) {
  if (a.n == 0) return;
  const uint64_t last = a.offset + static_cast<uint64_t>(a.n) - 1;
  const int64_t blocks = static_cast<int64_t>(last / kWords - a.offset / kWords) + 1;
  // u < p for a uniform u of 24 bits is word < threshold.
  const auto threshold = static_cast<uint32_t>(std::ceil(a.p * 0x1p24));
  const bool aligned = a.offset % kWords == 0 && is_aligned(a.x) && is_aligned(a.y);
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items<1>("dropout", dropout_kernel<T>, blocks, stream, static_cast<const T*>(a.x),
                    static_cast<T*>(a.y), a.n, blocks, aligned, a.seed, a.offset, threshold,
                    static_cast<Compute<T>>(a.p < 1 ? 1 / (1 - a.p) : 0));
  });
}

}  // namespace striate::cuda
