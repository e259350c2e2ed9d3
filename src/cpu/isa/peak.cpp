// Twelve accumulators hide the latency of two multiply-add pipes (4 to 5 cycles each) and leave the
// operands their registers in every instruction set.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

constexpr int kAccumulators = 12, kUnroll = 4;
using Register = Vector<float, kLanes<float>>;

int64_t multiply_add(int64_t repeats, float* sink) {
  // Each accumulator tends to 1, and none begins there, or the compiler would leave it out.
  const Register keep = Register{} + 0.75f, add = Register{} + 0.25f;
  Register acc[kAccumulators];
#pragma GCC unroll 16
  for (int i = 0; i < kAccumulators; ++i) acc[i] = Register{} + static_cast<float>(i + 2);
  for (int64_t repeat = 0; repeat < repeats; ++repeat) {
#pragma GCC unroll 16
    for (int i = 0; i < kAccumulators; ++i) acc[i] = acc[i] * keep + add;
  }
  Register sum = acc[0];
  for (int i = 1; i < kAccumulators; ++i) sum += acc[i];
  store<kLanes<float>>(sink, sum);
  return repeats * kAccumulators * kLanes<float> * 2;
}

float read(int64_t n, const float* x) {
  Register acc[kUnroll] = {};
  for (int64_t i = 0; i < n; i += kUnroll * kLanes<float>) {
#pragma GCC unroll 16
    for (int u = 0; u < kUnroll; ++u) acc[u] += load<kLanes<float>>(x + i + u * kLanes<float>);
  }
  const Register sum = (acc[0] + acc[1]) + (acc[2] + acc[3]);
  float total = 0;
  for (int lane = 0; lane < kLanes<float>; ++lane) total += sum[lane];
  return total;
}

void triad(int64_t n, const float* a, const float* b, float scale, float* y) {
  for (int64_t i = 0; i < n; i += kLanes<float>) {
    const Register sum = load<kLanes<float>>(a + i) + scale * load<kLanes<float>>(b + i);
    store<kLanes<float>>(y + i, sum);
  }
}

}  // namespace

namespace STRIATE_ISA {
constexpr PeakKernels peak{multiply_add, read, triad};
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
