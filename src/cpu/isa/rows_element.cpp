// Element-wise loops, left to the compiler to vectorise; sums and maxima in explicit vectors, since
// a compiler may not reorder those.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

template <class T, class Function>
inline void map(int64_t n, const T* x, T* y, Function function) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = rounded<T>(function(value_of(x[i])));
}

template <class T, class Function>
inline void map(int64_t n, const T* a, const T* b, T* y, Function function) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = rounded<T>(function(value_of(a[i]), value_of(b[i])));
}

// Loops that apply a function without a state, which is its type.
template <class T, class Function>
constexpr typename ElementKernels<T>::Unary unary(Function) {
  return [](int64_t n, const T* x, T* y) { map(n, x, y, Function()); };
}
template <class T, class Function>
constexpr typename ElementKernels<T>::UnaryBackward backward(Function) {
  return [](int64_t n, const T* grad_y, const T* saved, T* grad_x) {
    map(n, grad_y, saved, grad_x, Function());
  };
}
template <class T, class Function>
constexpr typename ElementKernels<T>::Binary binary(Function) {
  return [](int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step, T* y) {
    if (a_step & b_step) {
      map(n, a, b, y, Function());
    } else if (a_step) {
      map(n, a, y, [second = value_of(*b)](auto v) { return Function()(v, second); });
    } else {
      map(n, b, y, [first = value_of(*a)](auto v) { return Function()(first, v); });
    }
  };
}

template <class T, class V = Compute<T>>
void axpby(int64_t n, V alpha, const T* x, V beta, T* y) {
  if (x == nullptr) return map(n, y, y, [=](V v) { return beta * v; });
  map(n, x, y, y, [=](V u, V v) { return alpha * u + beta * v; });
}

template <class T>
void shifted_exp(int64_t n, const T* x, T shift, T* y) {
  map(n, x, y, [shift](T v) { return exponential(v - shift); });
}

/// Accumulators of a sum, whatever the width of a register.
constexpr int kPartials = 32;
constexpr int64_t kSumBlock = 2048;

template <class T, class V = Compute<T>>
double sum(int64_t n, const T* x) {
  constexpr int kWidth = kLanes<V>, kVectors = kPartials / kWidth;
  double total = 0;
  const int64_t whole = n - n % kPartials;
  for (int64_t begin = 0; begin < whole; begin += kSumBlock) {
    const int64_t end = smaller(begin + kSumBlock, whole);
    Vector<V, kWidth> partial[kVectors] = {};
    for (int64_t i = begin; i < end; i += kPartials) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) partial[v] += load<kWidth>(x + i + v * kWidth);
    }
    V lanes[kPartials];
    for (int v = 0; v < kVectors; ++v) store<kWidth>(lanes + v * kWidth, partial[v]);
    double block = 0;
    for (int i = 0; i < kPartials; ++i) block += lanes[i];
    total += block;
  }
  for (int64_t i = whole; i < n; ++i) total += value_of(x[i]);
  return total;
}

/// Four rows at a time: each piece of x is loaded once for them, and memory is read in four
/// streams.
template <class T>
void dot(int64_t n, const T* x, int64_t rows, const T* matrix, T* y) {
  constexpr int kWidth = kLanes<T>, kVectors = kPartials / kWidth, kRows = 4;
  const int64_t whole = n - n % kPartials;
  for (int64_t first = 0; first < rows; first += kRows) {
    const T* row[kRows];
    for (int r = 0; r < kRows; ++r) row[r] = matrix + smaller(first + r, rows - 1) * n;
    Vector<T, kWidth> partial[kRows][kVectors] = {};
    for (int64_t i = 0; i < whole; i += kPartials) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) {
        const Vector<T, kWidth> piece = load<kWidth>(x + i + v * kWidth);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
          partial[r][v] += piece * load<kWidth>(row[r] + i + v * kWidth);
      }
    }
    for (int r = 0; r < kRows && first + r < rows; ++r) {
      T lanes[kPartials], total = 0;
      for (int v = 0; v < kVectors; ++v) store<kWidth>(lanes + v * kWidth, partial[r][v]);
      for (T lane : lanes) total += lane;
      for (int64_t i = whole; i < n; ++i) total += x[i] * row[r][i];
      y[first + r] = total;
    }
  }
}

template <class T>
T max(int64_t n, const T* x) {
  constexpr int kWidth = kLanes<T>;
  T best = x[0];
  int64_t i = 0;
  if (n >= kWidth) {
    Vector<T, kWidth> lanes = load<kWidth>(x);
    for (i = kWidth; i + kWidth <= n; i += kWidth) {
      const Vector<T, kWidth> v = load<kWidth>(x + i);
      lanes = v > lanes ? v : lanes;
    }
    for (int l = 0; l < kWidth; ++l) best = lanes[l] > best || best != best ? lanes[l] : best;
  }
  for (; i < n; ++i) best = x[i] > best || best != best ? x[i] : best;
  return best;
}

template <bool kFirst, bool kNesterov, class T>
inline void momentum_step(int64_t n, const SgdStep<T>& step, T* p, const T* g, T* m) {
  const T lr = step.lr, momentum = step.momentum, keep = step.keep, decay = step.weight_decay;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T grad = g[i] + decay * p[i];
    const T velocity = kFirst ? grad : momentum * m[i] + keep * grad;
    m[i] = velocity;
    p[i] -= lr * (kNesterov ? grad + momentum * velocity : velocity);
  }
}

template <class T>
void sgd(int64_t n, const SgdStep<T>& step, T* p, const T* g, T* m) {
  if (m == nullptr) {
    const T lr = step.lr, decay = step.weight_decay;
    map(n, p, g, p, [=](T value, T grad) { return value - lr * (grad + decay * value); });
  } else if (step.first) {
    step.nesterov ? momentum_step<true, true>(n, step, p, g, m)
                  : momentum_step<true, false>(n, step, p, g, m);
  } else {
    step.nesterov ? momentum_step<false, true>(n, step, p, g, m)
                  : momentum_step<false, false>(n, step, p, g, m);
  }
}

template <class T>
void adam(int64_t n, const AdamStep<T>& step, T* p, const T* g, T* m, T* v) {
  const AdamStep<T> s = step;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T grad = g[i] + s.weight_decay * p[i];
    const T mean = s.beta1 * m[i] + s.rest1 * grad;
    const T square = s.beta2 * v[i] + s.rest2 * grad * grad;
    m[i] = mean;
    v[i] = square;
    p[i] = p[i] * s.decay - s.lr * mean / (square_root(square) / s.root_correction + s.eps);
  }
}

/// From result `first` on, as many as are whole blocks of kResults, whose sums do not wait for each
/// other: elements [begin, begin + L), of which the first n are stored.
template <int kResults, class T, int L>
inline int64_t row_sums_block(const RowSums<T>& sums, int64_t first, Vector<T, L> start,
                              int64_t begin, int64_t n, T* y) {
  // A row that follows at once overwrites what is stored behind this one.
  const int64_t whole = n == L                  ? sums.results
                        : sums.result_step == n ? sums.results - (L - 1) / n
                                                : 0;
  int64_t r = first;
  for (; r + kResults <= sums.results; r += kResults) {
    Vector<T, L> total[kResults];
    for (int k = 0; k < kResults; ++k) total[k] = start;
    for (int64_t j = 0; j < sums.first_count; ++j) {
      const T* row = sums.first[j] + sums.offset + r * sums.first_step + begin;
      for (int64_t i = 0; i < sums.count; ++i, row += sums.step)
        for (int k = 0; k < kResults; ++k) total[k] += load<L>(row + k * sums.first_step);
    }
    for (int k = 0; k < kResults; ++k) {
      T* result = y + (r + k) * sums.result_step + begin;
      if (r + k < whole) {
        store<L>(result, total[k]);
      } else {
        T lanes[L];
        store<L>(lanes, total[k]);
        copy_first<L>(lanes, n, result);
      }
    }
  }
  return r;
}
template <class T, int L>
inline void row_sums_columns(const RowSums<T>& sums, int64_t begin, int64_t n, T* y) {
  Vector<T, L> start = {};
  if (sums.start) {
    T values[L] = {};
    for (int64_t i = 0; i < n; ++i) values[i] = sums.start[begin + i];
    start = load<L>(values);
  }
  const int64_t left = row_sums_block<4, T, L>(sums, 0, start, begin, n, y);
  row_sums_block<1, T, L>(sums, left, start, begin, n, y);
}

template <class T>
void row_sums(const RowSums<T>& sums, int64_t n, T* y) {
  constexpr int kWide = kLanes<T>, kNarrow = kWide > 4 ? kWide / 2 : kWide;
  int64_t begin = 0;
  for (; begin + kWide <= n; begin += kWide) row_sums_columns<T, kWide>(sums, begin, kWide, y);
  if (n - begin > kNarrow) {
    row_sums_columns<T, kWide>(sums, begin, n - begin, y);
  } else if (begin < n) {
    row_sums_columns<T, kNarrow>(sums, begin, n - begin, y);
  }
}

template <class T, class V = Compute<T>>
constexpr ElementKernels<T> element_kernels() {
  ElementKernels<T> kernels{
      .neg = unary<T>([](auto v) { return -v; }),
      .exp = unary<T>([](auto v) { return exponential(v); }),
      .log = unary<T>([](auto v) { return logarithm(v); }),
      .sqrt = unary<T>([](auto v) { return square_root(v); }),
      .abs = unary<T>([](auto v) { return v < 0 ? -v : v + 0; }),  // + 0: |-0| is 0
      .relu = unary<T>([](auto v) { return v <= 0 ? 0 : v; }),
      .sigmoid = unary<T>([](auto v) { return logistic(v); }),
      .tanh = unary<T>([](auto v) { return hyperbolic_tangent(v); }),
      .exp_backward = backward<T>([](auto g, auto y) { return g * y; }),
      .log_backward = backward<T>([](auto g, auto x) { return g / x; }),
      .sqrt_backward = backward<T>([](auto g, auto y) { return g / (2 * y); }),
      .abs_backward = backward<T>([](auto g, auto x) { return x > 0   ? g
                                                              : x < 0 ? -g
                                                                      : x * g; }),
      .relu_backward = backward<T>([](auto g, auto y) { return y <= 0 ? 0 : g; }),
      .sigmoid_backward = backward<T>([](auto g, auto y) { return g * y * (1 - y); }),
      .tanh_backward = backward<T>([](auto g, auto y) { return g * (1 - y * y); }),
      .add = binary<T>([](auto a, auto b) { return a + b; }),
      .sub = binary<T>([](auto a, auto b) { return a - b; }),
      .mul = binary<T>([](auto a, auto b) { return a * b; }),
      .div = binary<T>([](auto a, auto b) { return a / b; }),
      .axpby = axpby<T>,
      .accumulate = [](int64_t n, const T* x,
                       T* y) { map(n, x, y, y, [](V u, V v) { return v + u; }); },
      .sum = sum<T>,
  };
  if constexpr (sizeof(T) == sizeof(V)) {
    kernels.shifted_exp = shifted_exp<T>;
    kernels.row_sums = row_sums<T>;
    kernels.dot = dot<T>;
    kernels.max = max<T>;
    kernels.sgd = sgd<T>;
    kernels.adam = adam<T>;
  }
  return kernels;
}

}  // namespace

namespace STRIATE_ISA {
constexpr ElementKernels<float> element_float = element_kernels<float>();
constexpr ElementKernels<double> element_double = element_kernels<double>();
constexpr ElementKernels<BFloat16> element_bfloat16 = element_kernels<BFloat16>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
