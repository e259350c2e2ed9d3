// cuda/dropout.cu, cuda/softmax.cu and cuda/nll_loss.cu against the CPU backend.
#include <cmath>
#include <limits>

#include "entries.h"
#include "support.h"

namespace striate {
namespace {

template <class T>
constexpr double kTolerance = sizeof(T) == 8   ? 1e-13
                              : sizeof(T) == 4 ? 1e-6
                                               : 1e-2;

// --- Dropout ------------------------------------------------------------------------------------

template <class T>
void check_dropouts() {
  for (const int64_t n : {1, 2, 5, 64, 2051}) {
    for (const uint64_t offset : {0, 1, 6, 8}) {
      for (const double p : {0.1, 0.5, 1.0}) {
        const auto x = integers<T>(n, 1, 9);
        for (const int64_t misaligned : {0, 1}) {
          auto padded = x;
          padded.insert(padded.begin(), static_cast<size_t>(misaligned), T(0));
          check_kernel<DropoutArgs>(cpu_kernels().dropout, cuda::dropout, [&](Arrays& a) {
            return DropoutArgs{dtype_of<T>(), a.in(padded) + misaligned, a.out<T>(n), n, p, 99,
                               offset};
          });
        }
      }
    }
  }
}

TEST_CASE("dropout") {
  check_dropouts<float>();
  check_dropouts<double>();
  check_dropouts<__nv_bfloat16>();
}

TEST_CASE("dropout and random numbers of a recorded graph, with seed and offset in memory") {
  const int64_t n = 301;
  const auto x = integers<float>(n, 1, 9);
  Arrays expected(64), actual(0);
  cpu_kernels().dropout({DType::kFloat32, expected.in(x), expected.out<float>(n), n, 0.5, 7, 8},
                        Stream{});
  cpu_kernels().random(
      {DType::kFloat32, expected.out<float>(n), n, Distribution::kUniform, 0, 1, 7, 8}, Stream{});
  const float* const source = actual.in(x);
  float *const y = actual.out<float>(n), *const z = actual.out<float>(n);
  const uint64_t state[] = {7, 5};
  auto* const base = static_cast<uint64_t*>(actual.workspace(sizeof(state)));
  std::memcpy(base, state, sizeof(state));
  expected.workspace(sizeof(state));
  cuda::dropout({DType::kFloat32, source, y, n, 0.5, 1, 3, base}, Stream{});
  cuda::random({DType::kFloat32, z, n, Distribution::kUniform, 0, 1, 1, 3, base}, Stream{});
  actual.check_same_outputs(expected, 0);
}

// --- Softmax ------------------------------------------------------------------------------------

struct Block {
  int64_t outer, n, inner;
};

constexpr Block kBlocks[] = {{1, 1, 1},    {9, 10, 1}, {3, 70, 1},
                             {2, 2300, 1}, {2, 7, 5},  {1, 3, 300}};

template <class T>
void check_softmaxes() {
  for (const Block& b : kBlocks) {
    for (const bool log : {false, true}) {
      CAPTURE(b.n);
      CAPTURE(b.inner);
      CAPTURE(log);
      const int64_t count = b.outer * b.n * b.inner;
      const auto x = integers<T>(count), grad = integers<T>(count, -8, 8, 2);
      check_kernel<SoftmaxArgs>(
          cpu_kernels().softmax, cuda::softmax,
          [&](Arrays& a) {
            return SoftmaxArgs{dtype_of<T>(), log, a.in(x), a.out<T>(count), b.outer, b.n, b.inner};
          },
          kTolerance<T>);
      auto y = integers<T>(count, -8, 0, 3);
      check_kernel<SoftmaxBackwardArgs>(
          cpu_kernels().softmax_backward, cuda::softmax_backward,
          [&](Arrays& a) {
            return SoftmaxBackwardArgs{dtype_of<T>(),   log,     a.in(grad), a.in(y),
                                       a.out<T>(count), b.outer, b.n,        b.inner};
          },
          log ? kTolerance<T> : 0);
    }
  }
}

TEST_CASE("softmax, log-softmax and their gradients") {
  check_softmaxes<float>();
  check_softmaxes<double>();
  check_softmaxes<__nv_bfloat16>();
}

TEST_CASE("softmax of NaN and of infinities is NaN where the CPU's is") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {1, 2, nan, -inf, -inf, -inf, inf, 0, 1, -inf, 3, 4};
  for (const bool log : {false, true}) {
    for (const Block& b : {Block{4, 3, 1}, Block{1, 3, 4}}) {
      Arrays expected(64), actual(0);
      const auto run = [&](Arrays& a, Kernel<SoftmaxArgs> kernel) {
        float* const y = a.out<float>(12);
        kernel({DType::kFloat32, log, a.in(x), y, b.outer, b.n, b.inner}, Stream{});
        return y;
      };
      const float* const y = run(expected, cpu_kernels().softmax);
      const float* const z = run(actual, cuda::softmax);
      for (int i = 0; i < 12; ++i) {
        CAPTURE(i);
        CHECK(std::isnan(y[i]) == std::isnan(z[i]));
        if (!std::isnan(y[i])) CHECK((y[i] == z[i] || std::abs(y[i] - z[i]) < 1e-6f));
      }
    }
  }
}

// --- Negative log-likelihood --------------------------------------------------------------------

constexpr int64_t kIgnored = -100;

struct LossCase {
  Block block;
  double smoothing;
  Reduction reduction;
};

std::vector<LossCase> loss_cases() {
  std::vector<LossCase> cases;
  for (const Block& b : {Block{1, 1, 1}, Block{64, 10, 1}, Block{3, 5, 7}, Block{2, 3, 3000}}) {
    for (const double smoothing : {0.0, 0.25}) {
      for (const Reduction reduction : {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
        cases.push_back({b, smoothing, reduction});
      }
    }
  }
  return cases;
}

/// Every fifth is ignored, but not the first.
std::vector<int64_t> labels(const Block& b) {
  auto target = integers<int64_t>(b.outer * b.inner, 0, static_cast<int>(b.n) - 1);
  for (size_t i = 4; i < target.size(); i += 5) target[i] = kIgnored;
  return target;
}

template <class T>
void check_losses() {
  for (const auto& [b, smoothing, reduction] : loss_cases()) {
    CAPTURE(b.outer);
    CAPTURE(b.n);
    CAPTURE(b.inner);
    CAPTURE(smoothing);
    CAPTURE(static_cast<int>(reduction));
    const int64_t samples = b.outer * b.inner, count = samples * b.n;
    const auto log_prob = integers<T>(count, -8, 0);
    const auto target = labels(b);
    check_kernel<NllLossArgs>(
        cpu_kernels().nll_loss, cuda::nll_loss,
        [&](Arrays& a) {
          return NllLossArgs{dtype_of<T>(), a.in(log_prob),
                             a.in(target),  a.out<T>(reduction == Reduction::kNone ? samples : 1),
                             a.out<T>(1),   b.outer,
                             b.n,           b.inner,
                             kIgnored,      smoothing,
                             reduction};
        },
        smoothing > 0 ? kTolerance<T> : 0);
    const auto grad = integers<T>(reduction == Reduction::kNone ? samples : 1, 1, 4);
    for (const bool logits : {false, true}) {
      check_kernel<NllLossBackwardArgs>(
          cpu_kernels().nll_loss_backward, cuda::nll_loss_backward,
          [&](Arrays& a) {
            return NllLossBackwardArgs{dtype_of<T>(),
                                       a.in(grad),
                                       logits ? a.in(log_prob) : nullptr,
                                       a.in(target),
                                       a.in(std::vector<T>{T(8)}),
                                       a.out<T>(count),
                                       b.outer,
                                       b.n,
                                       b.inner,
                                       kIgnored,
                                       smoothing,
                                       reduction,
                                       logits};
          },
          logits ? kTolerance<T> : 0);
    }
  }
}

TEST_CASE("nll_loss and its gradient") {
  check_losses<float>();
  check_losses<double>();
}

TEST_CASE("a label out of range, which a graph cannot check, gives NaN and reads nothing") {
  for (const int64_t label : {int64_t{3}, int64_t{-1}, int64_t{1} << 40}) {
    Arrays a(0);
    float* const loss = a.out<float>(2);
    float* const count = a.out<float>(1);
    cuda::nll_loss({DType::kFloat32, a.in(integers<float>(6)), a.in(std::vector<int64_t>{1, label}),
                    loss, count, 2, 3, 1, kIgnored, 0, Reduction::kNone},
                   Stream{});
    CHECK(!std::isnan(loss[0]));
    CHECK(std::isnan(loss[1]));
    CHECK(*count == 2);
  }
}

TEST_CASE("the mean of no samples is NaN") {
  Arrays a(0);
  float* const loss = a.out<float>(1);
  float* const count = a.out<float>(1);
  *loss = 0;
  cuda::nll_loss(
      {DType::kFloat32, a.in(integers<float>(6)), a.in(std::vector<int64_t>{kIgnored, kIgnored}),
       loss, count, 2, 3, 1, kIgnored, 0, Reduction::kMean},
      Stream{});
  CHECK(std::isnan(*loss));
  CHECK(*count == 0);
}

}  // namespace
}  // namespace striate
