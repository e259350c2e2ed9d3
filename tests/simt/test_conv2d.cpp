// The convolution kernels against the CPU backend: integers small enough that every sum is exact,
// so that any wrong index shows; outputs and workspaces begin as NaN.
#include <algorithm>
#include <array>
#include <limits>

#include "conv_plan.h"
#include "entries.h"
#include "striate/runtime.h"
#include "support.h"

namespace striate {
namespace {

using cuda::ConvAlgorithm;
using cuda::ConvKernel;
using Pair = std::array<int64_t, 2>;

struct Options {
  Pair stride = {1, 1}, pad = {0, 0}, dilation = {1, 1};
  int64_t groups = 1;
};
/// x (n, c, h, w), o filters of kernel size k.
Conv2dGeometry geometry(std::array<int64_t, 4> x, int64_t o, Pair k, const Options& options = {}) {
  const auto out = [&](int64_t size, int axis) {
    return (size + 2 * options.pad[axis] - options.dilation[axis] * (k[axis] - 1) - 1) /
               options.stride[axis] +
           1;
  };
  return {x[0],
          x[1],
          x[2],
          x[3],
          o,
          k[0],
          k[1],
          out(x[2], 0),
          out(x[3], 1),
          options.stride[0],
          options.stride[1],
          options.pad[0],
          options.pad[1],
          options.dilation[0],
          options.dilation[1],
          options.groups};
}

/// Values of the operands of one call, and what the CPU makes of them in float32.
struct Problem {
  Conv2dGeometry g;
  std::vector<float> x, weight, grad_y, y_bias, x_bias, residual;

  explicit Problem(const Conv2dGeometry& g)
      : g(g),
        x(integers<float>(g.n * g.h * g.w * g.c, -3, 3, 1)),
        weight(integers<float>(g.o * g.kh * g.kw * (g.c / g.groups), -3, 3, 2)),
        grad_y(integers<float>(g.n * g.oh * g.ow * g.o, -3, 3, 3)),
        y_bias(integers<float>(g.o, -9, 9, 4)),
        x_bias(integers<float>(g.c, -9, 9, 5)),
        residual(integers<float>(g.n * g.oh * g.ow * g.o, -9, 9, 6)) {}
};

template <class T>
std::vector<T> cast(const std::vector<float>& values) {
  std::vector<T> result;
  for (const float value : values) result.push_back(T(value));
  return result;
}

/// What conv2d.cpp and convolution.cpp do around a pass: plan, pack, workspace, kernel. `moments`
/// receives those of a forward pass if it has their length.
template <class T>
std::vector<T> run(const KernelTable& kernels, const Problem& p, ConvPass pass,
                   const Conv2dPlan& plan, bool epilogue, size_t readable_past_end,
                   std::vector<double>* moments = nullptr) {
  const Conv2dGeometry& g = p.g;
  const DType dtype = dtype_of<T>();
  using Bias = std::conditional_t<std::is_same_v<T, double>, double, float>;
  Arrays arrays(readable_past_end);
  void* workspace = arrays.workspace(plan.workspace);
  const void* packed = nullptr;
  if (plan.as_stored) {
    packed = arrays.in(cast<T>(p.weight));
  } else if (pass != ConvPass::kWeightGrad) {
    const int64_t i = g.c / g.groups;
    void* const target = arrays.workspace(plan.packed);
    kernels.conv2d_pack({g,
                         dtype,
                         pass,
                         plan,
                         arrays.in(cast<T>(p.weight)),
                         {g.kh * g.kw * i, 1, g.kw * i, i},
                         target},
                        {});
    packed = target;
  }
  const auto result = [&](const T* data, int64_t count) {
    arrays.check_inputs_unchanged();
    return std::vector<T>(data, data + count);
  };
  switch (pass) {
    case ConvPass::kForward: {
      const int64_t count = g.n * g.oh * g.ow * g.o;
      T* y = arrays.out<T>(count);
      double* target =
          moments ? arrays.out<double>(static_cast<int64_t>(moments->size())) : nullptr;
      kernels.conv2d(
          {g, dtype, plan, arrays.in(cast<T>(p.x)), packed,
           epilogue ? arrays.in(cast<Bias>(p.y_bias)) : nullptr,
           epilogue ? arrays.in(cast<T>(p.residual)) : nullptr, epilogue, y, workspace, target},
          {});
      if (moments) std::copy_n(target, moments->size(), moments->begin());
      return result(y, count);
    }
    case ConvPass::kInputGrad: {
      const int64_t count = g.n * g.h * g.w * g.c;
      T* grad_x = arrays.out<T>(count);
      kernels.conv2d_input_grad(
          {g, dtype, plan, arrays.in(cast<T>(p.grad_y)), packed,
           epilogue ? arrays.in(cast<Bias>(p.x_bias)) : nullptr, grad_x, workspace},
          {});
      return result(grad_x, count);
    }
    default: {
      const int64_t count = g.o * g.kh * g.kw * (g.c / g.groups);
      T* grad_weight = arrays.out<T>(count);
      kernels.conv2d_weight_grad({g, dtype, plan, arrays.in(cast<T>(p.x)),
                                  arrays.in(cast<T>(p.grad_y)), grad_weight, workspace},
                                 {});
      return result(grad_weight, count);
    }
  }
}

const KernelTable kCuda = {.conv2d_pack = cuda::conv2d_pack,
                           .conv2d = cuda::conv2d,
                           .conv2d_input_grad = cuda::conv2d_input_grad,
                           .conv2d_weight_grad = cuda::conv2d_weight_grad};

std::vector<float> reference(const Problem& p, ConvPass pass, bool epilogue) {
  set_winograd_enabled(false);  // its transforms round
  const Conv2dPlan plan = cpu_kernels().conv2d_plan(p.g, DType::kFloat32, pass);
  auto result = run<float>(cpu_kernels(), p, pass, plan, epilogue, 64);
  set_winograd_enabled(true);
  return result;
}

/// Runs a pass by one algorithm. The reference is exact, and is rounded once, as the kernel is to.
template <class T>
void check(const Problem& p, ConvPass pass, const ConvAlgorithm& algorithm, bool epilogue,
           const std::vector<float>& expected) {
  CAPTURE(static_cast<int>(pass));
  CAPTURE(static_cast<int>(algorithm.kernel));
  CAPTURE(algorithm.tile);
  CAPTURE(algorithm.splits);
  const Conv2dPlan plan = cuda::make_plan(p.g, dtype_of<T>(), pass, algorithm);
  const std::vector<T> actual = run<T>(kCuda, p, pass, plan, epilogue, 0);
  REQUIRE(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);
    REQUIRE(static_cast<float>(actual[i]) == static_cast<float>(T(expected[i])));
  }
}

constexpr ConvPass kPasses[] = {ConvPass::kForward, ConvPass::kInputGrad, ConvPass::kWeightGrad};

template <class T>
void check_all_algorithms(const Problem& p, ConvPass pass, bool epilogue,
                          const std::vector<float>& expected, std::initializer_list<int> tiles,
                          std::initializer_list<int> splits) {
  for (const ConvKernel kernel :
       {ConvKernel::kDirect, ConvKernel::kCudaCores, ConvKernel::kTensorCores}) {
    for (const int32_t tile : tiles) {
      for (const int32_t split : splits) {
        const ConvAlgorithm algorithm{kernel, tile, split};
        if (kernel == ConvKernel::kDirect && tile != *tiles.begin()) continue;
        if (!cuda::algorithm_applies(p.g, dtype_of<T>(), pass, algorithm)) continue;
        check<T>(p, pass, algorithm, epilogue, expected);
      }
    }
  }
}

/// Every kernel at its smallest tile, and the stem's.
void check_geometry(const Conv2dGeometry& g) {
  const Problem p(g);
  for (const ConvPass pass : kPasses) {
    const std::vector<float> expected = reference(p, pass, false);
    const bool stem =
        cuda::channel_layout(cuda::source_channels(g, pass), DType::kBFloat16).vector_bytes == 8;
    check_all_algorithms<float>(p, pass, false, expected, {2}, {1});
    check_all_algorithms<__nv_bfloat16>(p, pass, false, expected,
                                        {stem && pass != ConvPass::kWeightGrad ? 1 : 2}, {1});
  }
}

TEST_CASE("conv2d: kernels of 1 x 1 to 5 x 5, strides, paddings, dilations") {
  check_geometry(geometry({1, 8, 5, 6}, 8, {1, 1}));
  check_geometry(geometry({2, 5, 7, 6}, 9, {3, 3}, {.pad = {1, 1}}));
  check_geometry(geometry({1, 8, 9, 7}, 16, {3, 3}, {.stride = {2, 2}, .pad = {1, 1}}));
  check_geometry(geometry({1, 16, 8, 8}, 7, {1, 1}, {.stride = {2, 2}}));
  check_geometry(geometry({1, 3, 10, 11}, 6, {4, 5}, {.stride = {3, 2}, .pad = {2, 0}}));
  check_geometry(
      geometry({1, 6, 9, 8}, 4, {3, 2}, {.stride = {2, 1}, .pad = {2, 3}, .dilation = {2, 3}}));
  check_geometry(geometry({1, 9, 7, 12}, 3, {2, 5}, {.stride = {2, 4}, .dilation = {2, 2}}));
  check_geometry(geometry({70, 12, 1, 1}, 10, {1, 1}));  // linear
  check_geometry(geometry({1, 3, 23, 19}, 8, {11, 11}, {.stride = {4, 4}, .pad = {2, 2}}));
}

TEST_CASE("conv2d: groups and depthwise") {
  check_geometry(geometry({1, 16, 6, 5}, 16, {3, 3}, {.pad = {1, 1}, .groups = 2}));
  check_geometry(geometry({2, 6, 5, 5}, 9, {3, 3}, {.stride = {2, 2}, .pad = {1, 1}, .groups = 3}));
  check_geometry(geometry({1, 5, 6, 6}, 5, {3, 3}, {.pad = {1, 1}, .groups = 5}));
  check_geometry(geometry({1, 3, 7, 6}, 6, {3, 3}, {.stride = {2, 2}, .pad = {1, 1}, .groups = 3}));
}

TEST_CASE("conv2d: every tile, with several blocks and tails, split reductions and an epilogue") {
  const Problem p(geometry({1, 24, 12, 12}, 72, {2, 2}, {.pad = {1, 0}}));
  for (const ConvPass pass : kPasses) {
    const std::vector<float> expected = reference(p, pass, true);
    check_all_algorithms<float>(p, pass, true, expected, {0, 1, 2, 3}, {1, 3});
    check_all_algorithms<__nv_bfloat16>(p, pass, true, expected, {0, 1, 2, 3}, {1, 3});
  }
}

TEST_CASE("conv2d: the stem's tiles, with several blocks and tails, and split reductions") {
  const Problem p(geometry({1, 3, 24, 13}, 68, {3, 5}, {.stride = {2, 1}, .pad = {1, 2}}));
  for (const ConvPass pass : kPasses) {
    check_all_algorithms<__nv_bfloat16>(p, pass, true, reference(p, pass, true), {1, 2}, {2});
  }
}

TEST_CASE("conv2d: the model's choice, in float64 too") {
  const Problem p(geometry({2, 8, 6, 7}, 12, {3, 3}, {.stride = {1, 2}, .pad = {1, 1}}));
  for (const ConvPass pass : kPasses) {
    const std::vector<float> expected = reference(p, pass, true);
    check<float>(p, pass, cuda::choose_algorithm(p.g, DType::kFloat32, pass), true, expected);
    check<double>(p, pass, cuda::choose_algorithm(p.g, DType::kFloat64, pass), true, expected);
  }
}

/// The moments that a forward pass leaves of its results, against plain loops over these. Sums of
/// integers are exact.
template <class T>
void check_moments(const Problem& p, const ConvAlgorithm& algorithm, double tolerance) {
  CAPTURE(static_cast<int>(algorithm.kernel));
  CAPTURE(algorithm.tile);
  const Conv2dGeometry& g = p.g;
  const Conv2dPlan plan = cuda::make_plan(g, dtype_of<T>(), ConvPass::kForward, algorithm);
  const int64_t rows = g.n * g.oh * g.ow, chunk = plan.moment_rows;
  REQUIRE(chunk > 0);
  std::vector<double> moments(static_cast<size_t>((rows + chunk - 1) / chunk * 2 * g.o));
  const std::vector<T> y = run<T>(kCuda, p, ConvPass::kForward, plan, false, 0, &moments);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const double* part = moments.data() + first / chunk * 2 * g.o;
    for (int64_t o = 0; o < g.o; ++o) {
      const auto at = [&](int64_t row) {
        return static_cast<double>(static_cast<float>(y[static_cast<size_t>(row * g.o + o)]));
      };
      double mean = 0, m2 = 0;
      for (int64_t row = first; row < first + count; ++row) mean += at(row);
      mean /= static_cast<double>(count);
      for (int64_t row = first; row < first + count; ++row) {
        m2 += (at(row) - mean) * (at(row) - mean);
      }
      CAPTURE(first);
      CAPTURE(o);
      REQUIRE(part[o] == doctest::Approx(mean).epsilon(tolerance));
      REQUIRE(part[g.o + o] == doctest::Approx(m2).epsilon(tolerance));
    }
  }
}

template <class T>
void check_moments_of_all(const Problem& p, std::initializer_list<int> tiles,
                          double tolerance = 1e-12) {
  for (const ConvKernel kernel : {ConvKernel::kCudaCores, ConvKernel::kTensorCores}) {
    for (const int32_t tile : tiles) {
      if (!cuda::algorithm_applies(p.g, dtype_of<T>(), ConvPass::kForward, {kernel, tile, 1})) {
        continue;
      }
      check_moments<T>(p, {kernel, tile, 1}, tolerance);
    }
  }
}

TEST_CASE("conv2d: moments of the results, as they are rounded") {
  // Tails of rows and filters, a last tile of few rows, two tiles of filters, two groups.
  const Problem p(geometry({2, 8, 9, 8}, 136, {3, 3}, {.pad = {1, 1}}));
  check_moments_of_all<float>(p, {0, 1, 2, 3});
  check_moments_of_all<__nv_bfloat16>(p, {0, 1, 2, 3});
  const Problem grouped(geometry({5, 16, 6, 5}, 20, {2, 2}, {.stride = {2, 1}, .groups = 2}));
  check_moments_of_all<float>(grouped, {1, 2, 3});
  check_moments_of_all<__nv_bfloat16>(grouped, {1, 2, 3});
  const Problem stem(geometry({1, 3, 24, 13}, 68, {3, 5}, {.stride = {2, 1}, .pad = {1, 2}}));
  check_moments_of_all<__nv_bfloat16>(stem, {1});
}

TEST_CASE("conv2d: moments of values far from zero behind a border of zeros") {
  // A 1 x 1 kernel over one channel that is 1024 and a weight near 4: results of 4096 and a few.
  Problem p(geometry({1, 8, 16, 17}, 16, {1, 1}));
  for (size_t i = 0; i < p.x.size(); ++i) {
    p.x[i] = i < 40 ? 0 : i % 8 == 0 ? 1024 : static_cast<float>(i * 7 % 5) / 8;
  }
  for (size_t i = 0; i < p.weight.size(); ++i) p.weight[i] = i % 8 == 0 ? 4 : p.weight[i];
  check_moments_of_all<float>(p, {1, 2, 3}, 1e-5);
}

TEST_CASE("conv2d: only a forward pass whose blocks have whole results leaves moments") {
  const Conv2dGeometry g = geometry({1, 64, 8, 8}, 16, {3, 3}, {.pad = {1, 1}});
  const auto rows = [&](ConvPass pass, ConvKernel kernel, int32_t splits) {
    return cuda::make_plan(g, DType::kFloat32, pass, {kernel, 1, splits}).moment_rows;
  };
  CHECK(rows(ConvPass::kForward, ConvKernel::kCudaCores, 1) == 128);
  CHECK(rows(ConvPass::kForward, ConvKernel::kCudaCores, 2) == 0);
  CHECK(rows(ConvPass::kForward, ConvKernel::kDirect, 1) == 0);
  CHECK(rows(ConvPass::kInputGrad, ConvKernel::kCudaCores, 1) == 0);
}

TEST_CASE("conv2d: a NaN passes through ReLU, and stays in the pixels that read it") {
  const Conv2dGeometry g = geometry({1, 8, 4, 4}, 8, {1, 1});
  Problem p(g);
  p.x[5 * 8] = std::numeric_limits<float>::quiet_NaN();
  for (const ConvKernel kernel : {ConvKernel::kDirect, ConvKernel::kTensorCores}) {
    const Conv2dPlan plan =
        cuda::make_plan(g, DType::kBFloat16, ConvPass::kForward, {kernel, 2, 1});
    const auto y = run<__nv_bfloat16>(kCuda, p, ConvPass::kForward, plan, true, 0);
    for (int i = 0; i < 16 * 8; ++i) {
      const float value = y[static_cast<size_t>(i)];
      CHECK((value != value) == (i / 8 == 5));
    }
  }
}

}  // namespace
}  // namespace striate
