// What the machine can do at most, measured: the denominators of the benchmarks.
#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "cpu/allocator.h"
#include "cpu/isa.h"
#include "cpu/thread_pool.h"
#include "striate/error.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

constexpr int64_t kUnits = 64;              // of work a sample
constexpr int64_t kRepeats = 20'000;        // of one unit of arithmetic: tens of microseconds
constexpr int64_t kFloats = 1 << 18;        // of one unit of memory: 1 MiB, so that a sample's
constexpr int kMaxLanes = 16, kArrays = 3;  // arrays, 192 MiB, are far beyond the caches

/// The best of the samples' rates: whatever else runs only ever takes away from it.
template <class Sample>
double best_rate(double seconds, const Sample& sample) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  sample();
  double best = 0;
  const auto start = Clock::now();
  do {
    const auto begin = Clock::now();
    const double work = sample();
    best = std::max(best, work / since(begin));
  } while (since(start) < seconds);
  return best;
}

double multiply_add_rate(double seconds) {
  std::vector<float> sinks(kUnits * kMaxLanes);
  std::vector<int64_t> work(kUnits);
  return best_rate(seconds, [&] {
    parallel_for_each(kUnits, 1, [&](int64_t i) {
      work[i] = isa().peak.multiply_add(kRepeats, &sinks[i * kMaxLanes]);
    });
    return static_cast<double>(work[0]) * kUnits;
  });
}

double memory_rate(Peak peak, double seconds) {
  const int64_t n = kUnits * kFloats;
  const Device cpu{DeviceType::kCPU, 0};
  const size_t bytes = kArrays * n * sizeof(float);
  const auto free = [&](float* data) { deallocate(data, bytes, cpu); };
  const std::unique_ptr<float, decltype(free)> arrays(static_cast<float*>(allocate(bytes, cpu)),
                                                      free);
  require<OutOfMemoryError>(arrays != nullptr, "measure_peak: expected ", bytes, " bytes free");
  float *a = arrays.get(), *b = a + n, *y = b + n;
  std::fill_n(a, kArrays * n, 1.0f);  // so that the pages are there
  std::vector<float> sums(kUnits);
  return best_rate(seconds, [&] {
    parallel_for_each(kUnits, 1, [&](int64_t i) {
      const int64_t offset = i * kFloats;
      if (peak == Peak::kRead) {
        sums[i] = isa().peak.read(kFloats, a + offset) + isa().peak.read(kFloats, b + offset) +
                  isa().peak.read(kFloats, y + offset);
      } else {
        isa().peak.triad(kFloats, a + offset, b + offset, 0.5f, y + offset);
      }
    });
    return static_cast<double>(kArrays * n) * sizeof(float);
  });
}

}  // namespace
}  // namespace striate::cpu

namespace striate {

double measure_peak(Peak peak, double seconds) {
  require<ArgumentError>(seconds > 0, "measure_peak: expected seconds > 0, got ", seconds);
  return peak == Peak::kMultiplyAdd ? cpu::multiply_add_rate(seconds)
                                    : cpu::memory_rate(peak, seconds);
}

}  // namespace striate
