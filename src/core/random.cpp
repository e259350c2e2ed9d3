// The default generator: a Philox stream, of which each draw reserves a stretch.
#include <mutex>

#include "core/capture.h"

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

RandomStretch reserve_random(Device device, int64_t count) {
  // A Philox block yields four values: starting at its first keeps kernels free of edge cases.
  const auto aligned = [](uint64_t offset) { return (offset + 3) / 4 * 4; };
  if (Capture* capture = current_capture(device)) {
    const uint64_t offset = aligned(capture->random_count);
    capture->random_count = offset + static_cast<uint64_t>(count);
    return {0, offset, capture->random_base.data<const uint64_t>()};
  }
  std::lock_guard lock(generator().mutex);
  RngState& state = generator().state;
  const RandomStretch reserved{state.seed, aligned(state.offset)};
  state.offset = reserved.offset + static_cast<uint64_t>(count);
  return reserved;
}

}  // namespace striate
