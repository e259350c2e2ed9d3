// Dropout (Srivastava et al. 2014), with a mask that is drawn again rather than stored.
#include "cpu/dispatch.h"
#include "cpu/kernels.h"
#include "cpu/philox_words.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {

void dropout(const DropoutArgs& args, Stream) {
  // u < p for a uniform u of 24 bits is word < threshold.
  const uint32_t threshold = static_cast<uint32_t>(std::ceil(args.p * 0x1p24));
  const auto [seed, offset] = stream_of(args);
  with_floating(args.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const auto scale = static_cast<Compute<T>>(args.p < 1 ? 1 / (1 - args.p) : 0);
    parallel_for(args.n, kElementGrain / 4, [&](int64_t begin, int64_t end) {
      for_each_philox_run(seed, offset, begin, end,
                          [&](int64_t i, int64_t count, const uint32_t* words) {
                            for (int64_t k = 0; k < count; ++k) {
                              const Compute<T> kept = value_of(x[i + k]) * scale;
                              y[i + k] = rounded<T>(words[k] >> 8 < threshold ? 0 : kept);
                            }
                          });
    });
  });
}

}  // namespace striate::cpu
