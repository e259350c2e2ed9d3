// cuda/batch_norm.cu and cuda/local_response_norm.cu against the CPU backend.
#include <algorithm>
#include <cmath>
#include <utility>

#include "entries.h"
#include "support.h"

namespace striate {
namespace {

struct Matrix {
  int64_t rows, c;
};

// Vectors of channels and single ones, blocks of columns, threads without a row, several chunks.
constexpr Matrix kMatrices[] = {{2, 1}, {3, 3}, {40, 8}, {67, 5}, {700, 16}, {9, 132}, {2100, 4}};

template <class T>
constexpr double kTolerance = sizeof(T) == 8   ? 1e-13
                              : sizeof(T) == 4 ? 2e-6
                                               : 1e-2;

struct Wanted {
  bool parameters, running, training, residual, relu;
};

constexpr Wanted kWanted[] = {{true, true, true, false, false}, {false, false, true, true, false},
                              {true, true, false, true, true},  {false, true, false, false, false},
                              {true, false, true, false, true}, {false, true, true, true, true}};

/// An array of statistics or parameters, which are float32 for bfloat16.
template <class T>
using Parameter = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T>;

template <class T>
void check_batch_norm(const Matrix& m, const Wanted& wanted, int offset) {
  using P = Parameter<T>;
  CAPTURE(m.rows);
  CAPTURE(m.c);
  CAPTURE(wanted.parameters);
  CAPTURE(wanted.training);
  CAPTURE(wanted.relu);
  const auto x = integers<T>(m.rows * m.c, offset - 9, offset + 9);
  const auto weight = integers<P>(m.c, -3, 3, 2), bias = integers<P>(m.c, -3, 3, 3);
  const auto mean = integers<P>(m.c, -3, 3, 4), var = integers<P>(m.c, 1, 9, 5);
  const auto residual = integers<T>(m.rows * m.c, -2, 2, 6);
  check_kernel<BatchNormArgs>(
      cpu_kernels().batch_norm, cuda::batch_norm,
      [&](Arrays& a) {
        return BatchNormArgs{dtype_of<T>(),
                             m.rows,
                             m.c,
                             wanted.training,
                             0.1,
                             1e-5,
                             a.in(x),
                             wanted.parameters ? a.in(weight) : nullptr,
                             wanted.parameters ? a.in(bias) : nullptr,
                             wanted.running ? a.inout(mean) : nullptr,
                             wanted.running ? a.inout(var) : nullptr,
                             wanted.training ? a.out<P>(m.c) : nullptr,
                             wanted.training ? a.out<P>(m.c) : nullptr,
                             wanted.residual ? a.in(residual) : nullptr,
                             wanted.relu,
                             a.out<T>(m.rows * m.c)};
      },
      kTolerance<T>);
}

template <class T>
void check_batch_norms() {
  for (const Matrix& m : kMatrices) {
    for (const Wanted& wanted : kWanted) check_batch_norm<T>(m, wanted, 0);
  }
}

TEST_CASE("batch_norm") {
  check_batch_norms<float>();
  check_batch_norms<double>();
  check_batch_norms<__nv_bfloat16>();
}

TEST_CASE("batch_norm of values far from zero, and of a first row that is") {
  // Sums of squares would lose the variance here; two neighbours of one value in a block too.
  check_batch_norm<float>({700, 16}, kWanted[0], 1 << 20);
  const int64_t rows = 700, c = 4;
  std::vector<float> x = integers<float>(rows * c, 4090, 4100);
  for (int64_t i = 0; i < c; ++i) x[static_cast<size_t>(i)] = 0;
  check_kernel<BatchNormArgs>(
      cpu_kernels().batch_norm, cuda::batch_norm,
      [&](Arrays& a) {
        return BatchNormArgs{DType::kFloat32,
                             rows,
                             c,
                             true,
                             0.1,
                             1e-5,
                             a.in(x),
                             nullptr,
                             nullptr,
                             nullptr,
                             nullptr,
                             a.out<float>(c),
                             a.out<float>(c),
                             nullptr,
                             false,
                             a.out<float>(rows * c)};
      },
      1e-5);
}

/// Statistics from a convolution's moments, few or so many that they are joined in two steps.
template <class T>
void check_known_moments(const Matrix& m, int64_t chunk_rows) {
  using P = Parameter<T>;
  CAPTURE(m.rows);
  CAPTURE(chunk_rows);
  const auto x = integers<T>(m.rows * m.c, -9, 9), residual = integers<T>(m.rows * m.c, -2, 2, 6);
  const auto mean = integers<P>(m.c, -3, 3, 4), var = integers<P>(m.c, 1, 9, 5);
  std::vector<double> moments;
  for (int64_t first = 0; first < m.rows; first += chunk_rows) {
    const int64_t last = std::min(first + chunk_rows, m.rows);
    std::vector<double> m2;
    for (int64_t j = 0; j < m.c; ++j) {
      const auto at = [&](int64_t i) {
        return static_cast<double>(static_cast<float>(x[static_cast<size_t>(i * m.c + j)]));
      };
      double sum = 0, square = 0;
      for (int64_t i = first; i < last; ++i) sum += at(i);
      const double center = sum / static_cast<double>(last - first);
      for (int64_t i = first; i < last; ++i) square += (at(i) - center) * (at(i) - center);
      moments.push_back(center);
      m2.push_back(square);
    }
    moments.insert(moments.end(), m2.begin(), m2.end());
  }
  const auto check = [&](bool known_to_cpu) {
    bool on_cpu = true;  // check_kernel() asks for the CPU's first
    check_kernel<BatchNormArgs>(
        cpu_kernels().batch_norm, cuda::batch_norm,
        [&](Arrays& a) {
          const bool known = known_to_cpu || !on_cpu;
          on_cpu = false;
          const double* values = a.in(moments);
          return BatchNormArgs{dtype_of<T>(),
                               m.rows,
                               m.c,
                               true,
                               0.1,
                               1e-5,
                               a.in(x),
                               nullptr,
                               nullptr,
                               a.inout(mean),
                               a.inout(var),
                               a.out<P>(m.c),
                               a.out<P>(m.c),
                               a.in(residual),
                               true,
                               a.out<T>(m.rows * m.c),
                               {known ? values : nullptr, chunk_rows}};
        },
        kTolerance<T>);
  };
  check(true);
  check(false);
}

TEST_CASE("batch_norm from a convolution's moments") {
  for (const auto& [m, chunk_rows] :
       {std::pair{Matrix{700, 16}, int64_t{64}}, std::pair{Matrix{130, 5}, int64_t{128}},
        std::pair{Matrix{9, 132}, int64_t{64}}, std::pair{Matrix{2101, 4}, int64_t{2}}}) {
    check_known_moments<float>(m, chunk_rows);
    check_known_moments<__nv_bfloat16>(m, chunk_rows);
  }
}

/// What a ReLU's gradient is found from: no ReLU, its result computed again, or the one stored.
enum class Relu { kNone, kComputed, kStored };

/// All values are multiples of 1/4, so that many results are exactly 0, through which nothing goes.
template <class T>
void check_batch_norm_backward(const Matrix& m, bool training, Relu relu, int skipped) {
  using P = Parameter<T>;
  CAPTURE(m.rows);
  CAPTURE(m.c);
  CAPTURE(training);
  CAPTURE(relu);
  CAPTURE(skipped);
  const auto grad = integers<T>(m.rows * m.c), x = integers<T>(m.rows * m.c, -8, 8, 2);
  const auto mean = integers<P>(m.c, -2, 2, 3), weight = integers<P>(m.c, -2, 2, 4);
  auto invstd = integers<P>(m.c, 1, 3, 5);
  for (P& value : invstd) value /= 4;
  const auto bias = integers<P>(m.c, -2, 2, 6);
  auto y = integers<T>(m.rows * m.c, -2, 2, 7);
  y[0] = static_cast<T>(NAN);
  const bool stored = relu == Relu::kStored;
  check_kernel<BatchNormBackwardArgs>(
      cpu_kernels().batch_norm_backward, cuda::batch_norm_backward,
      [&](Arrays& a) {
        return BatchNormBackwardArgs{dtype_of<T>(),
                                     m.rows,
                                     m.c,
                                     training,
                                     a.in(grad),
                                     a.in(x),
                                     skipped == 1 ? nullptr : a.in(weight),
                                     skipped == 1 ? nullptr : a.in(bias),
                                     a.in(mean),
                                     a.in(invstd),
                                     relu != Relu::kNone,
                                     stored ? a.in(y) : nullptr,
                                     skipped == 2 ? nullptr : a.out<T>(m.rows * m.c),
                                     skipped == 3 ? nullptr : a.out<P>(m.c),
                                     skipped == 3 ? nullptr : a.out<P>(m.c),
                                     stored ? a.out<T>(m.rows * m.c) : nullptr};
      },
      kTolerance<T>);
}

template <class T>
void check_batch_norms_backward() {
  for (const Matrix& m : kMatrices) {
    for (const bool training : {true, false}) {
      for (int skipped = 0; skipped < 4; ++skipped) {
        check_batch_norm_backward<T>(m, training, Relu::kNone, skipped);
        check_batch_norm_backward<T>(m, training, Relu::kStored, skipped);
        if (training) check_batch_norm_backward<T>(m, training, Relu::kComputed, skipped);
      }
    }
  }
}

TEST_CASE("batch_norm_backward") {
  check_batch_norms_backward<float>();
  check_batch_norms_backward<double>();
  check_batch_norms_backward<__nv_bfloat16>();
}

template <class T>
void check_response_norms() {
  using S = Parameter<T>;
  for (const Matrix& m : {Matrix{1, 1}, Matrix{3, 7}, Matrix{41, 30}}) {
    for (const int64_t size : {1, 2, 5, 40}) {
      for (const double beta : {0.75, 0.5}) {
        CAPTURE(m.c);
        CAPTURE(size);
        const int64_t n = m.rows * m.c;
        const auto x = integers<T>(n), grad = integers<T>(n, -8, 8, 2);
        const auto scale = integers<S>(n, 1, 9, 3);
        check_kernel<LocalResponseNormArgs>(
            cpu_kernels().local_response_norm, cuda::local_response_norm,
            [&](Arrays& a) {
              return LocalResponseNormArgs{dtype_of<T>(), m.rows,     m.c, size,
                                           0.5,           beta,       2,   a.in(x),
                                           a.out<T>(n),   a.out<S>(n)};
            },
            kTolerance<T>);
        check_kernel<LocalResponseNormBackwardArgs>(
            cpu_kernels().local_response_norm_backward, cuda::local_response_norm_backward,
            [&](Arrays& a) {
              return LocalResponseNormBackwardArgs{dtype_of<T>(), m.rows,     m.c,        size,
                                                   0.5,           beta,       a.in(grad), a.in(x),
                                                   a.in(scale),   a.out<T>(n)};
            },
            kTolerance<T> * 4);
      }
    }
  }
}

TEST_CASE("local_response_norm and its gradient") {
  check_response_norms<float>();
  check_response_norms<double>();
  check_response_norms<__nv_bfloat16>();
}

}  // namespace
}  // namespace striate
