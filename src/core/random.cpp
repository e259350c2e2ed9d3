// The default generator: a Philox stream, of which each draw reserves a stretch.
#include <mutex>

#include "core/tensor_impl.h"

namespace striate {
namespace {

struct Generator {
  std::mutex mutex;
  RngState state;
};

Generator& generator() {
  static auto* instance = new Generator;  // never destroyed: threads may outlive main
  return *instance;
}

}  // namespace

void manual_seed(uint64_t seed) { set_rng_state({seed, 0}); }

RngState rng_state() {
  std::lock_guard lock(generator().mutex);
  return generator().state;
}

void set_rng_state(RngState state) {
  std::lock_guard lock(generator().mutex);
  generator().state = state;
}

RngState reserve_random(int64_t count) {
  std::lock_guard lock(generator().mutex);
  RngState& state = generator().state;
  // A Philox block yields four values: starting at its first keeps kernels free of edge cases.
  const RngState reserved{state.seed, (state.offset + 3) / 4 * 4};
  state.offset = reserved.offset + static_cast<uint64_t>(count);
  return reserved;
}

}  // namespace striate
