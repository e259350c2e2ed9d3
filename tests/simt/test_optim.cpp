// cuda/optim.cu against the CPU backend.
#include <cmath>

#include "entries.h"
#include "support.h"

namespace striate {
namespace {

/// Parameters of different lengths, one of them misaligned, and more than one launch takes.
template <class T>
std::vector<OptimizerTensor> tensors(Arrays& a, bool first, bool has_m = true) {
  std::vector<OptimizerTensor> result;
  const auto add = [&](int64_t n, int64_t misaligned) {
    const int64_t length = n + misaligned;
    const auto seed = static_cast<uint32_t>(4 * result.size());
    T* const p = a.inout(integers<T>(length, -8, 8, seed));
    const T* const g = a.in(integers<T>(length, -8, 8, seed + 1));
    T* const m = a.inout(integers<T>(length, first ? 0 : -8, first ? 0 : 8, seed + 2));
    T* const v = a.inout(integers<T>(length, 0, first ? 0 : 8, seed + 3));
    result.push_back({p + misaligned, g + misaligned, has_m ? m + misaligned : nullptr,
                      v + misaligned, n, first});
  };
  for (const int64_t n : {1, 3, 4, 6, 4096, 4100, 9001}) add(n, 0);
  add(50, 1);
  for (int64_t n = 1; n <= 90; ++n) add(n % 7 + 1, 0);
  return result;
}

template <class T>
void check_sgd(const SGDOptions& options, bool first) {
  std::vector<OptimizerTensor> lists[2];  // the Args' arrays live until both have run
  int side = 0;
  check_kernel<SgdArgs>(cpu_kernels().sgd, cuda::sgd, [&](Arrays& a) {
    auto& list = lists[side++] = tensors<T>(a, first, options.momentum != 0);
    return SgdArgs{dtype_of<T>(), list.data(), static_cast<int64_t>(list.size()), options};
  });
}

TEST_CASE("sgd") {
  for (const bool first : {true, false}) {
    check_sgd<float>({.lr = 0.1}, first);
    check_sgd<float>({.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4}, first);
    check_sgd<float>({.lr = 0.1, .momentum = 0.9, .dampening = 0.3}, first);
    check_sgd<double>({.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true}, first);
  }
}

template <class T>
void check_adam(const AdamOptions& options, bool first) {
  std::vector<OptimizerTensor> lists[2];
  int side = 0;
  check_kernel<AdamArgs>(
      cpu_kernels().adam, cuda::adam,
      [&](Arrays& a) {
        auto& list = lists[side++] = tensors<T>(a, first);
        return AdamArgs{dtype_of<T>(), list.data(), static_cast<int64_t>(list.size()),
                        options,       0.19,        0.002};
      },
      sizeof(T) == 8 ? 1e-14 : 1e-6);
}

TEST_CASE("adam and adamw") {
  for (const bool first : {true, false}) {
    check_adam<float>({.lr = 0.1, .weight_decay = 0.01}, first);
    check_adam<double>({.lr = 0.1, .weight_decay = 0.01, .decoupled = true}, first);
  }
}

TEST_CASE("optimizers of a recorded graph, with their numbers in memory") {
  for (const bool adam : {false, true}) {
    Arrays expected(64), actual(0);
    const auto cpu = tensors<float>(expected, false), gpu = tensors<float>(actual, false);
    const auto count = static_cast<int64_t>(cpu.size());
    if (adam) {
      const AdamOptions options{.lr = 0.5,
                                .beta1 = 0.8,
                                .beta2 = 0.9,
                                .eps = 1e-3,
                                .weight_decay = 0.1,
                                .decoupled = true};
      cpu_kernels().adam({DType::kFloat32, cpu.data(), count, options, 0.19, 0.002}, Stream{});
      const double* const scalars =
          actual.in(std::vector<double>{0.5, 0.8, 0.9, 1e-3, 0.1, 0.19, 0.002});
      cuda::adam({DType::kFloat32, gpu.data(), count, {.decoupled = true}, 1, 1, scalars},
                 Stream{});
      expected.in(std::vector<double>(7));
    } else {
      const SGDOptions options{.lr = 0.5, .momentum = 0.8, .dampening = 0.1, .weight_decay = 0.2};
      cpu_kernels().sgd({DType::kFloat32, cpu.data(), count, options}, Stream{});
      const double* const scalars = actual.in(std::vector<double>{0.5, 0.8, 0.1, 0.2});
      cuda::sgd({DType::kFloat32, gpu.data(), count, {.momentum = 1}, scalars}, Stream{});
      expected.in(std::vector<double>(4));
    }
    actual.check_same_outputs(expected, adam ? 1e-6 : 0);
  }
}

}  // namespace
}  // namespace striate
