// Random numbers. Element i belongs to position q = offset + i of the stream. Uniform values use
// word q alone. Normal values come in pairs (Box and Muller 1958): both members of pair q / 2 are
// computed from words u = 2 (q / 2) and u + 1, the even one with the cosine, the odd one with the
// sine, so that a value depends on its position and not on where a call or a thread starts.
#include <cmath>

#include "cpu/dispatch.h"
#include "cpu/kernels.h"
#include "cpu/philox_words.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

constexpr int64_t kGrain = 4096;

template <class T>
void uniform(const RandomArgs& args) {
  T* y = static_cast<T*>(args.y);
  const T low = static_cast<T>(args.a), range = static_cast<T>(args.b - args.a);
  const T high = static_cast<T>(args.b);
  const auto [seed, offset] = stream_of(args);
  parallel_for(args.n, kGrain, [&](int64_t begin, int64_t end) {
    for_each_philox_run(seed, offset, begin, end,
                        [&](int64_t i, int64_t count, const uint32_t* words) {
                          for (int64_t k = 0; k < count; ++k) {
                            const T value = low + range * static_cast<T>(philox_uniform(words[k]));
                            y[i + k] = value < high ? value : low;  // rounding may reach high
                          }
                        });
  });
}

template <class T>
void normal(const RandomArgs& args) {
  T* y = static_cast<T*>(args.y);
  const auto [seed, first] = stream_of(args);
  const uint64_t last = first + static_cast<uint64_t>(args.n);
  const int64_t pairs = args.n == 0 ? 0 : static_cast<int64_t>((last + 1) / 2 - first / 2);
  parallel_for(pairs, kGrain / 4, [&](int64_t begin, int64_t end) {
    for (int64_t pair = begin; pair < end; ++pair) {
      const uint64_t position = 2 * (first / 2 + static_cast<uint64_t>(pair));
      const PhiloxBlock block = philox_block(seed, position / 4);
      const uint32_t* word = block.word + position % 4;
      const PhiloxNormal point = philox_normal(word[0], word[1]);
      const double radius = args.b * std::sqrt(point.radius_squared);
      if (position >= first) {
        y[position - first] = static_cast<T>(args.a + radius * point.cosine);
      }
      if (position + 1 < last) {
        y[position + 1 - first] = static_cast<T>(args.a + radius * point.sine);
      }
    }
  });
}

}  // namespace

void random(const RandomArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    args.distribution == Distribution::kUniform ? uniform<T>(args) : normal<T>(args);
  });
}

}  // namespace striate::cpu
