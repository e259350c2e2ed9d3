// Normal random values. The arithmetic is that of core/philox.h, one vector lane a pair: bits do
// not depend on the instruction set.
#include "core/philox.h"
#include "cpu/isa/tables.h"

namespace striate::cpu {
namespace {

/// Blocks at a time: the arrays between the loops stay in the L1 cache.
constexpr int kBlocks = 64;

template <class T>
void normal_blocks(uint64_t seed, uint64_t first, int64_t count, double mean, double stddev, T* y) {
  uint32_t radius_words[2 * kBlocks] = {}, angle_words[2 * kBlocks] = {};
  double cosines[2 * kBlocks], sines[2 * kBlocks];
  for (int64_t done = 0; done < count; done += kBlocks) {
    const int blocks = static_cast<int>(count - done < kBlocks ? count - done : kBlocks);
    const uint64_t counter = first + static_cast<uint64_t>(done);
    for (int b = 0; b < blocks; ++b) {
      const PhiloxBlock block = philox_block(seed, counter + static_cast<uint64_t>(b));
      radius_words[b] = block.word[0];
      angle_words[b] = block.word[1];
      radius_words[kBlocks + b] = block.word[2];
      angle_words[kBlocks + b] = block.word[3];
    }
    // In the last, shorter round this also computes points that nobody reads.
    for (int i = 0; i < 2 * kBlocks; ++i) {
      const PhiloxNormal point = philox_normal(radius_words[i], angle_words[i]);
      const double radius = stddev * __builtin_sqrt(point.radius_squared);
      cosines[i] = mean + radius * point.cosine;
      sines[i] = mean + radius * point.sine;
    }
    for (int b = 0; b < blocks; ++b, y += 4) {
      y[0] = static_cast<T>(cosines[b]);
      y[1] = static_cast<T>(sines[b]);
      y[2] = static_cast<T>(cosines[kBlocks + b]);
      y[3] = static_cast<T>(sines[kBlocks + b]);
    }
  }
}

}  // namespace

namespace STRIATE_ISA {
constexpr NormalKernel<float> normal_float = normal_blocks<float>;
constexpr NormalKernel<double> normal_double = normal_blocks<double>;
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
