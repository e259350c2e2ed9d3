// The CPU backend's threads: the caller takes part, never waits for a thread that is not running,
// and may fork.
#pragma once

#include <cstdint>

namespace striate::cpu {

/// Calls body(begin, end) on consecutive ranges that cover [0, count). `grain` is the smallest
/// range worth a thread (about 20 us of work); below two grains the caller runs it all. Ranges
/// depend on the thread count, so a body must not let its result depend on where they split.
/// Nested calls run serially. The first exception a body throws is rethrown here.
template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body);

using RangeFunction = void (*)(const void* body, int64_t begin, int64_t end);
void parallel_for_impl(int64_t count, int64_t grain, RangeFunction function, const void* body);

template <class Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  parallel_for_impl(
      count, grain,
      [](const void* erased, int64_t begin, int64_t end) {
        (*static_cast<const Body*>(erased))(begin, end);
      },
      &body);
}

/// The same for body(i), an index at a time.
template <class Body>
void parallel_for_each(int64_t count, int64_t grain, const Body& body) {
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace striate::cpu
