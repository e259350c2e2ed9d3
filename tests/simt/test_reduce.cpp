// cuda/reduce.cu and cuda/index.cu against the CPU backend.
#include <cmath>
#include <limits>

#include "entries.h"
#include "support.h"

namespace striate {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// --- Sums ---------------------------------------------------------------------------------------

struct SumCase {
  int64_t numel;  // of x
  Dims kept, kept_strides, reduced, reduced_strides;
};

const SumCase kSums[] = {
    {1, {1}, {0}, {1}, {0}},
    {5, {1}, {0}, {5}, {1}},
    {20011, {1}, {0}, {20011}, {1}},               // several chunks
    {7 * 300, {7}, {300}, {300}, {1}},             // rows
    {700 * 37, {37}, {1}, {700}, {37}},            // columns, several chunks
    {3 * 5 * 40, {3, 40}, {200, 1}, {5}, {40}},    // the middle
    {2 * 6 * 5 * 7, {6}, {1}, {2, 35}, {210, 6}},  // channels-last, to channels
    {4 * 9 * 5, {9, 5}, {1, 9}, {4}, {45}},        // kept out of memory order
    {11, {11}, {1}, {6}, {0}},                     // broadcast
    {3 * 4 * 5 * 6, {4, 6}, {30, 1}, {3, 5}, {120, 6}},
};

template <class T>
void check_sums(double scale) {
  using Y = std::conditional_t<std::is_integral_v<T>, int64_t, T>;
  for (const SumCase& c : kSums) {
    INFO("kept ", c.kept.size(), " reduced ", c.reduced[0]);
    const auto x = integers<T>(c.numel, std::is_same_v<T, bool> ? 0 : -8, 1);
    int64_t outputs = 1;
    for (const int64_t size : c.kept) outputs *= size;
    check_kernel<SumArgs>(cpu_kernels().sum, cuda::sum, [&](Arrays& a) {
      return SumArgs{dtype_of<T>(), dtype_of<Y>(),  a.in(x),   a.out<Y>(outputs),
                     c.kept,        c.kept_strides, c.reduced, c.reduced_strides,
                     scale};
    });
  }
}

TEST_CASE("sum") {
  check_sums<float>(0.25);
  check_sums<double>(1);
  check_sums<__nv_bfloat16>(0.25);
  check_sums<int64_t>(1);
  check_sums<int32_t>(1);
  check_sums<uint8_t>(1);
}

TEST_CASE("sum of booleans, of a flipped array and of infinities") {
  std::vector<uint8_t> bits(1000);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = i % 3 == 0;
  check_kernel<SumArgs>(cpu_kernels().sum, cuda::sum, [&](Arrays& a) {
    return SumArgs{DType::kBool, DType::kInt64, a.in(bits), a.out<int64_t>(10), {10}, {100},
                   {100},        {1},           1};
  });
  const auto x = integers<float>(60);
  check_kernel<SumArgs>(cpu_kernels().sum, cuda::sum, [&](Arrays& a) {
    return SumArgs{
        DType::kFloat32, DType::kFloat32, a.in(x) + 59, a.out<float>(6), {6}, {-10}, {10}, {-1}, 1};
  });
  const std::vector<double> odd = {1, kInf, 2, -kInf, 3, kInf, kNan, 1};
  check_kernel<SumArgs>(cpu_kernels().sum, cuda::sum, [&](Arrays& a) {
    return SumArgs{
        DType::kFloat64, DType::kFloat64, a.in(odd), a.out<double>(4), {4}, {2}, {2}, {1}, 1};
  });
}

// --- Maxima -------------------------------------------------------------------------------------

struct MaxCase {
  int64_t outer, n, inner;
};

constexpr MaxCase kMaxima[] = {{1, 1, 1}, {5, 10, 1},  {1, 20011, 1}, {3, 7, 5},
                               {2, 1, 9}, {300, 3, 1}, {2, 600, 40},  {1, 2, 700}};

template <class T>
void check_maxima(const std::vector<T>& x, const MaxCase& c, bool values, bool indices) {
  CAPTURE(c.outer);
  CAPTURE(c.n);
  CAPTURE(c.inner);
  const int64_t outputs = c.outer * c.inner;
  check_kernel<MaxArgs>(cpu_kernels().max, cuda::max, [&](Arrays& a) {
    return MaxArgs{dtype_of<T>(),
                   a.in(x),
                   values ? a.out<T>(outputs) : nullptr,
                   indices ? a.out<int64_t>(outputs) : nullptr,
                   c.outer,
                   c.n,
                   c.inner};
  });
}

template <class T>
void check_maxima_of_integers() {
  for (const MaxCase& c : kMaxima) {
    check_maxima(integers<T>(c.outer * c.n * c.inner, 0, 5), c, true, true);  // many ties
    check_maxima(integers<T>(c.outer * c.n * c.inner, 0, 100), c, false, true);
  }
  check_maxima(integers<T>(30), {3, 10, 1}, true, false);
}

TEST_CASE("max") {
  check_maxima_of_integers<float>();
  check_maxima_of_integers<double>();
  check_maxima_of_integers<__nv_bfloat16>();
  check_maxima_of_integers<int64_t>();
  check_maxima_of_integers<int32_t>();
  check_maxima_of_integers<uint8_t>();
}

TEST_CASE("max of NaN and of infinities") {
  const auto nan = static_cast<float>(kNan), inf = static_cast<float>(kInf);
  check_maxima<float>({1, nan, 3, nan, inf, 2, -inf, -inf, -inf}, {3, 3, 1}, true, true);
  check_maxima<float>({1, nan, 3, nan, inf, 2, -inf, -inf, -inf}, {1, 3, 3}, true, true);
  std::vector<float> x(20011, -inf);
  check_maxima(x, {1, 20011, 1}, true, true);
  x[15000] = x[9000] = nan;
  check_maxima(x, {1, 20011, 1}, true, true);
}

TEST_CASE("max_backward") {
  for (const MaxCase& c : kMaxima) {
    const int64_t outputs = c.outer * c.inner;
    const auto grad = integers<float>(outputs);
    const auto indices = integers<int64_t>(outputs, 0, static_cast<int>(c.n) - 1);
    check_kernel<MaxBackwardArgs>(cpu_kernels().max_backward, cuda::max_backward, [&](Arrays& a) {
      return MaxBackwardArgs{
          DType::kFloat32, a.in(grad), a.in(indices), a.out<float>(c.outer * c.n * c.inner),
          c.outer,         c.n,        c.inner};
    });
  }
}

// --- Indices ------------------------------------------------------------------------------------

struct IndexCase {
  int64_t outer, n, inner, count;
};

constexpr IndexCase kIndexed[] = {{1, 1, 1, 1},  {1, 9, 16, 40}, {3, 5, 7, 2},   {2, 6, 4, 33},
                                  {5, 70, 1, 9}, {1, 3, 300, 5}, {2, 3, 129, 70}};

template <class T>
void check_index_select() {
  for (const IndexCase& c : kIndexed) {
    const auto x = integers<T>(c.outer * c.n * c.inner, 0, 100);
    const auto indices = integers<int64_t>(c.count, 0, static_cast<int>(c.n) - 1);
    for (const int64_t misaligned : {0, 1}) {
      auto padded = x;
      padded.insert(padded.begin(), static_cast<size_t>(misaligned), T(0));
      check_kernel<IndexSelectArgs>(cpu_kernels().index_select, cuda::index_select, [&](Arrays& a) {
        return IndexSelectArgs{dtype_of<T>(), a.in(padded) + misaligned,
                               a.in(indices), a.out<T>(c.outer * c.count * c.inner),
                               c.outer,       c.n,
                               c.inner,       c.count};
      });
    }
  }
}

TEST_CASE("index_select") {
  check_index_select<float>();
  check_index_select<double>();
  check_index_select<__nv_bfloat16>();
  check_index_select<uint8_t>();
}

TEST_CASE("an index out of range, which a graph cannot check, gives zeros and reads nothing") {
  Arrays a(0);
  float* const y = a.out<float>(6);
  const std::vector<int64_t> indices = {1, 2, int64_t{-1} << 40};
  cuda::index_select(
      {DType::kFloat32, a.in(integers<float>(4, 1, 8)), a.in(indices), y, 1, 2, 2, 3}, Stream{});
  CHECK(y[0] > 0);
  for (int i = 2; i < 6; ++i) CHECK(y[i] == 0);
}

template <class T>
void check_index_select_backward() {
  for (const IndexCase& c : kIndexed) {
    const auto grad = integers<T>(c.outer * c.count * c.inner);
    const auto indices = integers<int64_t>(c.count, 0, static_cast<int>(c.n) - 1);
    check_kernel<IndexSelectBackwardArgs>(
        cpu_kernels().index_select_backward, cuda::index_select_backward, [&](Arrays& a) {
          return IndexSelectBackwardArgs{
              dtype_of<T>(), a.in(grad), a.in(indices), a.out<T>(c.outer * c.n * c.inner),
              c.outer,       c.n,        c.inner,       c.count};
        });
  }
}

TEST_CASE("index_select_backward") {
  check_index_select_backward<float>();
  check_index_select_backward<double>();
}

TEST_CASE("find_out_of_range") {
  for (const int64_t n : {1, 64, 257, 20011}) {
    for (const int64_t bad : {int64_t{-1}, int64_t{0}, n / 2, n - 1}) {
      auto indices = integers<int64_t>(n, 0, 9);
      for (int64_t i = bad; i >= 0 && i < n; i += 3)
        indices[static_cast<size_t>(i)] = i % 2 * 11 - 1;
      indices[static_cast<size_t>(n) / 3] = -100;
      for (const int64_t ignore : {-100, 0}) {
        check_kernel<FindOutOfRangeArgs>(
            cpu_kernels().find_out_of_range, cuda::find_out_of_range, [&](Arrays& a) {
              return FindOutOfRangeArgs{a.in(indices), n, 0, 10, ignore, a.out<int64_t>(1)};
            });
      }
    }
  }
}

}  // namespace
}  // namespace striate
