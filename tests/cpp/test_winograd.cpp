// Winograd convolution of each tile size against a float64 reference.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "cpu/isa.h"
#include "cpu/winograd.h"

namespace {

namespace st = striate;
using st::Conv2dGeometry;
using st::ConvPass;
using st::cpu::BFloat16;
using st::cpu::value_of;

Conv2dGeometry geometry(int64_t kernel, int64_t pad, int64_t h, int64_t w) {
  return {.n = 2,
          .c = 32,
          .h = h,
          .w = w,
          .o = 48,
          .kh = kernel,
          .kw = kernel,
          .oh = h + 2 * pad - kernel + 1,
          .ow = w + 2 * pad - kernel + 1,
          .stride_h = 1,
          .stride_w = 1,
          .pad_h = pad,
          .pad_w = pad,
          .dilation_h = 1,
          .dilation_w = 1,
          .groups = 1};
}

/// Calls visit(in, out, weight index) for every product of a convolution, by channels-last index.
template <class Visit>
void for_each_product(const Conv2dGeometry& g, const Visit& visit) {
  for (int64_t n = 0; n < g.n; ++n)
    for (int64_t y = 0; y < g.oh; ++y)
      for (int64_t x = 0; x < g.ow; ++x)
        for (int64_t tap = 0; tap < g.kh * g.kw; ++tap) {
          const int64_t row = y - g.pad_h + tap / g.kw, column = x - g.pad_w + tap % g.kw;
          if (row < 0 || row >= g.h || column < 0 || column >= g.w) continue;
          for (int64_t o = 0; o < g.o; ++o)
            for (int64_t c = 0; c < g.c; ++c)
              visit(((n * g.h + row) * g.w + column) * g.c + c,
                    ((n * g.oh + y) * g.ow + x) * g.o + o, (o * g.kh * g.kw + tap) * g.c + c);
        }
}

template <class T>
constexpr st::DType kDType = st::DType::kFloat32;
template <>
constexpr st::DType kDType<double> = st::DType::kFloat64;
template <>
constexpr st::DType kDType<BFloat16> = st::DType::kBFloat16;

/// Relative L2 error of one pass on normal data; the output is poisoned first.
template <class T, class P = st::cpu::Compute<T>>
double error(const Conv2dGeometry& g, ConvPass pass, int64_t m) {
  const auto element = [](double value) {
    return st::cpu::rounded<T>(static_cast<st::cpu::Compute<T>>(value));
  };
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  const auto values = [&](int64_t n) {
    std::vector<T> result(n);
    for (T& value : result) value = element(normal(random));
    return result;
  };
  const std::vector<T> x = values(g.n * g.h * g.w * g.c), y = values(g.n * g.oh * g.ow * g.o);
  const std::vector<T> weight = values(g.o * g.kh * g.kw * g.c);
  const auto tiles = st::cpu::winograd_geometry(g, pass, m);
  REQUIRE(st::cpu::winograd_applies<T>(g));

  std::vector<double> expected;
  std::vector<T> result;
  if (pass == ConvPass::kWeightGrad) {
    expected.resize(weight.size());
    for_each_product(g, [&](int64_t in, int64_t out, int64_t w) {
      expected[w] += double{value_of(x[in])} * value_of(y[out]);
    });
    const st::Conv2dPlan plan = st::cpu::winograd_weight_grad_plan<T, P>(tiles);
    std::vector<char> workspace(plan.workspace);
    result.assign(expected.size(), element(NAN));
    st::cpu::winograd_weight_grad<T, P>(tiles, plan, x.data(), y.data(), result.data(),
                                        workspace.data());
  } else {
    const bool backward = pass == ConvPass::kInputGrad;
    expected.resize(backward ? x.size() : y.size());
    for_each_product(g, [&](int64_t in, int64_t out, int64_t w) {
      expected[backward ? in : out] +=
          double{value_of(weight[w])} * value_of(backward ? y[out] : x[in]);
    });
    const st::Conv2dPlan plan = st::cpu::winograd_plan<T, P>(tiles);
    struct alignas(64) Line {  // as the allocator's
      char bytes[64];
    };
    std::vector<Line> packed(plan.packed / sizeof(Line) + 1);
    std::vector<char> workspace(plan.workspace);
    result.assign(expected.size(), element(NAN));
    st::cpu::winograd_pack<T, P>(tiles, {g,
                                         kDType<T>,
                                         pass,
                                         plan,
                                         weight.data(),
                                         {g.kh * g.kw * g.c, 1, g.kw * g.c, g.c},
                                         packed.data()});
    st::cpu::winograd<T, P>(tiles, plan, backward ? y.data() : x.data(), packed.data(), {},
                            result.data(), workspace.data());
  }
  double difference = 0, size = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    const double apart = value_of(result[i]) - expected[i];
    difference += apart * apart;
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

TEST_CASE("winograd: errors of all tile sizes, all paddings and ragged sizes") {
  for (int64_t pad : {0, 1, 2}) {
    for (ConvPass pass : {ConvPass::kForward, ConvPass::kInputGrad, ConvPass::kWeightGrad}) {
      for (const auto& [h, w] : {std::pair<int64_t, int64_t>{4, 9}, {7, 6}, {11, 3}}) {
        const Conv2dGeometry g = geometry(3, pad, h, w);
        CAPTURE(pad);
        CAPTURE(h);
        CHECK(error<float>(g, pass, 2) < 1.5e-6);
        CHECK(error<float>(g, pass, 4) < 1e-5);
        CHECK(error<double>(g, pass, 2) < 1e-14);
        CHECK(error<double>(g, pass, 4) < 1e-13);
        CHECK(error<BFloat16>(g, pass, 4) < 2e-3);  // the result's rounding alone is 1.7e-3
        if (st::cpu::isa().multiplies_bfloat16())
          CHECK(error<BFloat16, BFloat16>(g, pass, 3) < 8e-3);
      }
    }
  }
}

TEST_CASE("winograd: errors of 5x5 kernels, all paddings and ragged sizes") {
  for (int64_t pad = 0; pad < 5; ++pad) {
    for (ConvPass pass : {ConvPass::kForward, ConvPass::kInputGrad, ConvPass::kWeightGrad}) {
      for (const auto& [h, w] : {std::pair<int64_t, int64_t>{5, 9}, {8, 7}, {11, 6}}) {
        const Conv2dGeometry g = geometry(5, pad, h, w);
        CAPTURE(pad);
        CAPTURE(h);
        CHECK(error<float>(g, pass, 2) < 1e-5);
        CHECK(error<double>(g, pass, 2) < 1e-13);
      }
    }
  }
}

}  // namespace
