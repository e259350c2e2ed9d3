// Loops over the rows of a matrix whose columns are channels.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBlockRows = 64;      // rows that are summed in V before their sums go to double
constexpr int64_t kMergedColumns = 128;  // how wide short rows are made

/// Short rows are read several at a time, a power of two, as one wider row, so that loops fill their
/// vectors.
struct Merge {
  int64_t width, step;  // columns and stride of the wider rows
  int64_t rows;         // whole wider rows
  int64_t rest;         // columns of the last, partial one

  Merge(int64_t count, int64_t c, int64_t stride) {
    int64_t merged = 1;
    while (stride == c && 2 * merged * c <= kMergedColumns) merged *= 2;
    width = merged * c;
    step = merged * stride;
    rows = count / merged;
    rest = count % merged * c;
  }
};

template <class... Values>
inline void clear(int64_t width, Values*... values) {
  for (int64_t j = 0; j < width; ++j) ((values[j] = 0), ...);
}

/// Ends each row of a loop over rows, of which the compiler would otherwise take two together: what
/// fetches memory ahead then recognises neither, and a pass from memory takes up to three times as
/// long.
inline void keep_order() { asm volatile(""); }

/// For every column, the sums of what term(element, column, values) leaves in `values`: in V over
/// kBlockRows rows, beyond in double.
template <class V, int kSums, class Term>
inline void sum_rows(const Merge& merge, int64_t c, double* const (&results)[kSums], Term term) {
  double totals[kSums][kMaxColumns];
  for (double* total : totals) clear(merge.width, total);
  for (int64_t begin = 0; begin < merge.rows; begin += kBlockRows) {
    const int64_t end = smaller(begin + kBlockRows, merge.rows);
    V acc[kSums][kMaxColumns];
    for (V* sums : acc) clear(merge.width, sums);
    for (int64_t r = begin; r < end; ++r) {
      keep_order();
#pragma GCC ivdep
      for (int64_t j = 0; j < merge.width; ++j) {
        V values[kSums];
        term(r * merge.step + j, j, values);
        for (int k = 0; k < kSums; ++k) acc[k][j] += values[k];
      }
    }
    for (int k = 0; k < kSums; ++k)
      for (int64_t j = 0; j < merge.width; ++j) totals[k][j] += acc[k][j];
  }
  for (int64_t j = 0; j < merge.rest; ++j) {
    V values[kSums];
    term(merge.rows * merge.step + j, j, values);
    for (int k = 0; k < kSums; ++k) totals[k][j] += values[k];
  }
  for (int k = 0; k < kSums; ++k) {
    for (int64_t j = 0; j < c; ++j) results[k][j] = totals[k][j];
    for (int64_t first = c; first < merge.width; first += c)
      for (int64_t j = 0; j < c; ++j) results[k][j] += totals[k][first + j];
  }
}

template <class T, class V = Compute<T>>
void column_sum(int64_t rows, int64_t c, int64_t stride, const T* x, double* sum) {
  sum_rows<V>(Merge(rows, c, stride), c, {sum},
              [=](int64_t i, int64_t, V(&values)[1]) { values[0] = value_of(x[i]); });
}

/// Joins the moments of two sets of values. (Chan, Golub and LeVeque 1983.)
inline void join(double count_a, double& mean_a, double& m2_a, double count_b, double mean_b,
                 double m2_b) {
  const double delta = mean_b - mean_a, share = count_b / (count_a + count_b);
  mean_a += delta * share;
  m2_a += m2_b + delta * delta * count_a * share;
}

/// Within a block, values are taken relative to the block's first row: the deviations' sum then
/// cancels by at most a factor of the block's length, whatever the data.
template <class T, class V = Compute<T>>
void column_moments(int64_t rows, int64_t c, int64_t stride, const T* x, double* mean, double* m2) {
  const Merge merge(rows, c, stride);
  double means[kMaxColumns], squares[kMaxColumns];
  clear(merge.width, means, squares);
  for (int64_t begin = 0; begin < merge.rows; begin += kBlockRows) {
    const int64_t count = smaller(kBlockRows, merge.rows - begin), step = merge.step;
    const T* block = x + begin * step;
    V first[kMaxColumns], acc[kMaxColumns], acc2[kMaxColumns];
    clear(merge.width, acc, acc2);
    for (int64_t j = 0; j < merge.width; ++j) first[j] = value_of(block[j]);
    for (int64_t r = 0; r < count; ++r) {
      const T* row = block + r * step;
      keep_order();
#pragma GCC ivdep
      for (int64_t j = 0; j < merge.width; ++j) {
        const V d = value_of(row[j]) - first[j];
        acc[j] += d;
        acc2[j] += d * d;
      }
    }
    const double n = static_cast<double>(count), inverse = 1 / n;
    for (int64_t j = 0; j < merge.width; ++j) {
      const double sum = acc[j], offset = sum * inverse;
      join(static_cast<double>(begin), means[j], squares[j], n, first[j] + offset,
           acc2[j] - sum * offset);
    }
  }
  const double whole = static_cast<double>(merge.rows);
  for (int64_t j = 0; j < merge.rest; ++j) {
    join(whole, means[j], squares[j], 1, value_of(x[merge.rows * merge.step + j]), 0);
  }
  const auto count_of = [&](int64_t j) { return whole + (j < merge.rest); };
  for (int64_t j = 0; j < c; ++j) {
    double count = count_of(j);
    mean[j] = means[j];
    m2[j] = squares[j];
    for (int64_t k = j + c; k < merge.width && count_of(k) > 0; k += c) {
      join(count, mean[j], m2[j], count_of(k), means[k], squares[k]);
      count += count_of(k);
    }
  }
}

/// 0 where a ReLU let nothing through. Asked this way round, NaN stays NaN.
template <class V>
inline V positive_part(V v) {
  return v <= 0 ? 0 : v;
}
template <class V>
inline V where_positive(V y, V grad) {
  return y <= 0 ? 0 : grad;
}

template <class T, class V = Compute<T>>
void column_grad_sums(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                      const Affine<V>& norm, const ReluGrad<T>& pass, double* sum,
                      double* product) {
  const Merge merge(rows, c, stride);
  V means[kMaxColumns], scales[kMaxColumns], biases[kMaxColumns];
  for (int64_t j = 0; j < merge.width; ++j) {
    means[j] = norm.mean[j % c];
    scales[j] = norm.scale[j % c];
    biases[j] = norm.bias[j % c];
  }
  const auto run = [&, mean = &means[0]](auto passed) {
    sum_rows<V>(merge, c, {sum, product}, [=](int64_t i, int64_t j, V(&values)[2]) {
      const V deviation = value_of(x[i]) - mean[j], grad = value_of(grad_y[i]);
      values[0] = passed(i, j, grad, deviation);
      values[1] = values[0] * deviation;
    });
  };
  if (!pass.relu) {
    run([](int64_t, int64_t, V grad, V) { return grad; });
  } else if (pass.y == nullptr) {
    run([scale = &scales[0], bias = &biases[0]](int64_t, int64_t j, V grad, V deviation) {
      return where_positive(deviation * scale[j] + bias[j], grad);
    });
  } else {
    run([y = pass.y, masked = pass.masked](int64_t i, int64_t, V grad, V) {
      const V passed = where_positive(value_of(y[i]), grad);
      masked[i] = rounded<T>(passed);
      return passed;
    });
  }
}

/// Stores value(index of the element, column) for all elements.
template <class T, class Value>
inline void store_rows(int64_t rows, int64_t c, int64_t stride, const RowsTarget<T>& target,
                       Value value) {
  T row[kMaxColumns];
  for (int64_t r = 0; r < rows; ++r) {
    T* first = target.first + r * stride;
    T* y = target.stream ? row : first;
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) y[j] = value(r * stride + j, j);
    if (!target.stream) continue;
    constexpr int L = kLanes<uint8_t>;
    auto* lines = reinterpret_cast<Vector<uint8_t, L>*>(first);
    for (int64_t byte = 0; byte < c * int64_t{sizeof(T)}; byte += L)
      store_past_caches(lines++, load<L>(reinterpret_cast<const uint8_t*>(row) + byte));
  }
}

template <class T, class V = Compute<T>>
void normalize(int64_t rows, int64_t c, int64_t stride, const T* x, const Affine<V>& norm,
               const T* residual, bool relu, const RowsTarget<T>& y) {
  const auto run = [=, mean = norm.mean, scale = norm.scale, bias = norm.bias](auto finish) {
    store_rows(rows, c, stride, y, [=](int64_t i, int64_t j) {
      return rounded<T>(finish((value_of(x[i]) - mean[j]) * scale[j] + bias[j], i));
    });
  };
  if (residual == nullptr && !relu) run([](V v, int64_t) { return v; });
  if (residual == nullptr && relu) run([](V v, int64_t) { return positive_part(v); });
  if (residual != nullptr && !relu) run([=](V v, int64_t i) { return v + value_of(residual[i]); });
  if (residual != nullptr && relu) {
    run([=](V v, int64_t i) { return positive_part(v + value_of(residual[i])); });
  }
}

template <class T, class V = Compute<T>>
void normalize_grad(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                    const Affine<V>& norm, const V* shift, const V* slope, bool relu,
                    const RowsTarget<T>& grad_x) {
  const auto run = [=, mean = norm.mean, scale = norm.scale, bias = norm.bias](auto pass) {
    store_rows(rows, c, stride, grad_x, [=](int64_t i, int64_t j) {
      const V deviation = value_of(x[i]) - mean[j];
      const V grad = pass(value_of(grad_y[i]), deviation * scale[j] + bias[j]);
      return rounded<T>((grad - shift[j] - deviation * slope[j]) * scale[j]);
    });
  };
  if (relu) {
    run([](V grad, V y) { return where_positive(y, grad); });
  } else {
    run([](V grad, V) { return grad; });
  }
}

template <class T, class V = Compute<T>>
void scale_rows(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const V* scale,
                T* grad_x) {
  for (int64_t r = 0; r < rows; ++r, grad_y += stride, grad_x += stride) {
#pragma GCC ivdep
    for (int64_t j = 0; j < c; ++j) grad_x[j] = rounded<T>(value_of(grad_y[j]) * scale[j]);
  }
}

/// y = x * s^-beta; 3/4, the value of the paper, by roots.
template <class T, class Y, class V = Compute<T>>
inline void divide_by_power(int64_t n, V beta, const T* x, const V* s, Y* y) {
  if (beta == V(0.75)) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const V root = square_root(s[i]);
      y[i] = rounded<Y>(value_of(x[i]) / (root * square_root(root)));
    }
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = rounded<Y>(value_of(x[i]) * power(s[i], -beta));
  }
}

template <class T, class V = Compute<T>>
void response_norm(int64_t c, int64_t size, V ratio, V beta, V k, const T* x, T* y, V* scale) {
  for (int64_t i = 0; i < c; ++i) scale[i] = 0;
  for (int64_t d = larger(-(size / 2), -c); d <= smaller((size - 1) / 2, c); ++d) {
    const int64_t begin = larger(0, -d), end = smaller(c, c - d);
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      const V value = value_of(x[i + d]);
      scale[i] += value * value;
    }
  }
#pragma GCC ivdep
  for (int64_t i = 0; i < c; ++i) scale[i] = k + ratio * scale[i];
  divide_by_power(c, beta, x, scale, y);
}

/// grad_x[i] = grad_y[i] s[i]^-beta - 2 ratio beta x[i] * sum of t[j] over the channels j whose
/// window holds i, t[j] = grad_y[j] x[j] s[j]^(-beta-1); blocks of t at a time.
template <class T, class V = Compute<T>>
void response_norm_grad(int64_t c, int64_t size, V ratio, V beta, const T* grad_y, const T* x,
                        const V* scale, T* grad_x) {
  constexpr int64_t kBlock = 512;
  const int64_t before = smaller((size - 1) / 2, c), after = smaller(size / 2, c);
  for (int64_t begin = 0; begin < c; begin += kBlock) {
    const int64_t end = smaller(begin + kBlock, c);
    V sum[kBlock] = {}, terms[kBlock];
    const int64_t last = smaller(end + after, c);
    for (int64_t from = larger(begin - before, 0); from < last; from += kBlock) {
      const int64_t to = smaller(from + kBlock, last);
      divide_by_power(to - from, beta, x + from, scale + from, terms);
#pragma GCC ivdep
      for (int64_t j = from; j < to; ++j) terms[j - from] *= value_of(grad_y[j]) / scale[j];
      for (int64_t d = -before; d <= after; ++d) {
        const int64_t low = larger(begin, from - d), high = smaller(end, to - d);
#pragma GCC ivdep
        for (int64_t i = low; i < high; ++i) sum[i - begin] += terms[i + d - from];
      }
    }
    divide_by_power(end - begin, beta, grad_y + begin, scale + begin, terms);
    const V factor = 2 * ratio * beta;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
      grad_x[i] = rounded<T>(terms[i - begin] - factor * value_of(x[i]) * sum[i - begin]);
    }
  }
}

template <class T>
constexpr ColumnKernels<T> column_kernels() {
  return {
      .sum = column_sum<T>,
      .moments = column_moments<T>,
      .grad_sums = column_grad_sums<T>,
      .normalize = normalize<T>,
      .normalize_grad = normalize_grad<T>,
      .scale = scale_rows<T>,
      .response_norm = response_norm<T>,
      .response_norm_grad = response_norm_grad<T>,
  };
}

}  // namespace

namespace STRIATE_ISA {
constexpr ColumnKernels<float> column_float = column_kernels<float>();
constexpr ColumnKernels<double> column_double = column_kernels<double>();
constexpr ColumnKernels<BFloat16> column_bfloat16 = column_kernels<BFloat16>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
