// Random numbers. Element i belongs to position q = offset + i of the stream. Uniform values use
// word q alone. Normal values come in pairs (Box and Muller 1958): both members of pair q / 2 are
// computed from words u = 2 (q / 2) and u + 1, the even one with the cosine, the odd one with the
// sine, so that a value depends on its position and not on where a call or a thread starts.
#include <algorithm>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
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
  if (args.n == 0) return;
  T* y = static_cast<T*>(args.y);
  const auto [seed, first] = stream_of(args);
  const uint64_t last = first + static_cast<uint64_t>(args.n), block = first / 4;
  const NormalKernel<T> kernel = isa().of<T>().normal;
  // Blocks that the range covers whole; one at either end may be cut.
  const uint64_t whole = (first + 3) / 4, end = std::max(last / 4, whole);
  const auto edge = [&](uint64_t index) {
    T values[4];
    kernel(seed, index, 1, args.a, args.b, values);
    for (uint64_t q = std::max(4 * index, first); q < std::min(4 * index + 4, last); ++q)
      y[q - first] = values[q - 4 * index];
  };
  if (block < whole) edge(block);
  parallel_for(static_cast<int64_t>(end - whole), kGrain / 4, [&](int64_t from, int64_t to) {
    const uint64_t index = whole + static_cast<uint64_t>(from);
    kernel(seed, index, to - from, args.a, args.b, y + (4 * index - first));
  });
  if (last > 4 * end) edge(end);
}

}  // namespace

void random(const RandomArgs& args, Stream) {
  with_real(args.dtype, [&]<class T>(T) {
    args.distribution == Distribution::kUniform ? uniform<T>(args) : normal<T>(args);
  });
}

}  // namespace striate::cpu
