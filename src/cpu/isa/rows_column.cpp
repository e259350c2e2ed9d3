// Loops over the rows of a matrix whose columns are channels.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBlockRows = 64;       // rows that are summed in V before their sums go to double
constexpr int64_t kMergedColumns = 128;  // how wide short rows are made

/// Short rows are read several at a time, a power of two, as one wider row, so that loops fill
/// their vectors.
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

/// Calls body<L>(j) for vectors of L columns, and for single columns where those end.
template <class T, class Body>
inline void for_columns(int64_t width, Body body) {
  constexpr int L = kLanes<T>;
  int64_t j = 0;
  for (; j + L <= width; j += L) body.template operator()<L>(j);
  for (; j < width; ++j) body.template operator()<1>(j);
}

/// Calls body<kRows>(row, apart) for kRows rows that lie `apart` rows from each other, and for the
/// single ones that are left. Rows that lie far apart are fetched side by side, and what belongs to
/// their column is loaded once. The compiler, which would take neighbouring rows together, is kept
/// from it: what fetches memory ahead then recognises neither, and a pass from memory takes up to
/// three times as long.
template <int kRows, class Body>
inline void for_rows(int64_t rows, Body body) {
  const int64_t apart = rows / kRows;
  for (int64_t r = 0; r < apart; ++r) {
    asm volatile("");
    body.template operator()<kRows>(r, apart);
  }
  for (int64_t r = apart * kRows; r < rows; ++r) body.template operator()<1>(r, 0);
}

/// For every column, the sums of what term<L>(element, column, values) leaves in `values`: in V
/// over kBlockRows rows, beyond in double.
template <class T, int kSums, class Term, class V = Compute<T>>
inline void sum_rows(const Merge& merge, int64_t c, double* const (&results)[kSums], Term term) {
  double totals[kSums][kMaxColumns];
  for (double* total : totals) clear(merge.width, total);
  for (int64_t begin = 0; begin < merge.rows; begin += kBlockRows) {
    V acc[kSums][kMaxColumns];
    for (V* sums : acc) clear(merge.width, sums);
    for_rows<1>(smaller(kBlockRows, merge.rows - begin), [&]<int>(int64_t row, int64_t) {
      for_columns<T>(merge.width, [&]<int L>(int64_t j) {
        Vector<V, L> values[kSums];
        term.template operator()<L>((begin + row) * merge.step + j, j, values);
        for (int k = 0; k < kSums; ++k) store<L>(&acc[k][j], load<L>(&acc[k][j]) + values[k]);
      });
    });
    for (int k = 0; k < kSums; ++k)
      for (int64_t j = 0; j < merge.width; ++j) totals[k][j] += acc[k][j];
  }
  for (int64_t j = 0; j < merge.rest; ++j) {
    V values[kSums];
    term.template operator()<1>(merge.rows * merge.step + j, j, values);
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
  sum_rows<T>(
      Merge(rows, c, stride), c, {sum},
      [=]<int L>(int64_t i, int64_t, Vector<V, L>(&values)[1]) { values[0] = load<L>(x + i); });
}

/// Joins the moments of two sets of values. (Chan, Golub and LeVeque 1983.)
inline void join(double count_a, double& mean_a, double& m2_a, double count_b, double mean_b,
                 double m2_b) {
  const double delta = mean_b - mean_a, share = count_b / (count_a + count_b);
  mean_a += delta * share;
  m2_a += m2_b + delta * delta * count_a * share;
}

/// The sum of kCount values, in pairs.
template <int kCount, class V>
inline V sum_in_pairs(V (&values)[kCount]) {
  for (int half = kCount / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) values[k] += values[k + half];
  return values[0];
}

/// Within a block, values are taken relative to the mean of the blocks before it, in the first one
/// relative to that of four of its rows. Little cancels, whatever the data: in the first block the
/// squares are at most 1 + count / 4 times the result, and how far a later block is from the mean
/// is part of the result.
template <class T, class V = Compute<T>>
void column_moments(int64_t rows, int64_t c, int64_t stride, const T* x, double* mean, double* m2) {
  constexpr int kDistant = 4;  // rows
  const Merge merge(rows, c, stride);
  double means[kMaxColumns], squares[kMaxColumns];
  clear(merge.width, means, squares);
  for (int64_t begin = 0; begin < merge.rows; begin += kBlockRows) {
    const int64_t count = smaller(kBlockRows, merge.rows - begin), step = merge.step;
    const T* block = x + begin * step;
    V center[kMaxColumns], acc[kMaxColumns], acc2[kMaxColumns];
    clear(merge.width, acc, acc2);
    for (int64_t j = 0; begin == 0 && j < merge.width; ++j) {
      V few[kDistant];
      for (int k = 0; k < kDistant; ++k)
        few[k] = value_of(block[count / kDistant * k * step + j]) / kDistant;
      center[j] = sum_in_pairs(few);
    }
    for (int64_t j = 0; begin > 0 && j < merge.width; ++j) center[j] = static_cast<V>(means[j]);
    for_rows<kDistant>(count, [&]<int kRows>(int64_t row, int64_t apart) {
      for_columns<T>(merge.width, [&]<int L>(int64_t j) {
        const Vector<V, L> shift = load<L>(center + j);
        Vector<V, L> d[kRows], d2[kRows];
        for (int k = 0; k < kRows; ++k) {
          d[k] = load<L>(block + (row + k * apart) * step + j) - shift;
          d2[k] = d[k] * d[k];
        }
        store<L>(acc + j, load<L>(acc + j) + sum_in_pairs(d));
        store<L>(acc2 + j, load<L>(acc2 + j) + sum_in_pairs(d2));
      });
    });
    const double n = static_cast<double>(count), inverse = 1 / n;
    for (int64_t j = 0; j < merge.width; ++j) {
      const double sum = acc[j], offset = sum * inverse;
      join(static_cast<double>(begin), means[j], squares[j], n, center[j] + offset,
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
inline V where_positive(V y, V grad) {
  return y <= V{} ? V{} : grad;
}

template <class T, class V = Compute<T>>
void column_grad_sums(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                      const Affine<V>& norm, const ReluGrad<T>& pass, double* sum,
                      double* product) {
  const Merge merge(rows, c, stride);
  V means[kMaxColumns], scales[kMaxColumns], biases[kMaxColumns];
  for (int64_t j = 0; j < merge.width; ++j) {
    means[j] = j < c ? norm.mean[j] : means[j - c];
    scales[j] = j < c ? norm.scale[j] : scales[j - c];
    biases[j] = j < c ? norm.bias[j] : biases[j - c];
  }
  const auto run = [&, mean = &means[0]](auto passed) {
    sum_rows<T>(merge, c, {sum, product},
                [=]<int L>(int64_t i, int64_t j, Vector<V, L>(&values)[2]) {
                  const Vector<V, L> deviation = load<L>(x + i) - load<L>(mean + j);
                  values[0] = passed.template operator()<L>(i, j, load<L>(grad_y + i), deviation);
                  values[1] = values[0] * deviation;
                });
  };
  if (!pass.relu) {
    run([]<int L>(int64_t, int64_t, Vector<V, L> grad, Vector<V, L>) { return grad; });
  } else if (pass.y == nullptr) {
    run([scale = &scales[0], bias = &biases[0]]<int L>(int64_t, int64_t j, Vector<V, L> grad,
                                                       Vector<V, L> deviation) {
      const Vector<V, L> y = deviation * load<L>(scale + j) + load<L>(bias + j);
      return where_positive(y, grad);
    });
  } else {
    run([y = pass.y, masked = pass.masked]<int L>(int64_t i, int64_t, Vector<V, L> grad,
                                                  Vector<V, L>) {
      const Vector<V, L> passed = where_positive(load<L>(y + i), grad);
      store_exact<L>(masked + i, passed);
      return passed;
    });
  }
}

/// Stores value<L>(index of the element, column) for all elements.
template <class T, class Value, class V = Compute<T>>
inline void store_rows(int64_t rows, int64_t c, int64_t stride, const RowsTarget<T>& target,
                       Value value) {
  for_rows<2>(rows,
              [=, y = target.first, stream = target.stream]<int kRows>(int64_t row, int64_t apart) {
                for_columns<T>(c, [=]<int L>(int64_t j) {
                  Vector<V, L> results[kRows];
                  const int64_t first = row * stride + j, step = apart * stride;
                  for (int k = 0; k < kRows; ++k) {
                    results[k] = value.template operator()<L>(first + k * step, j);
                  }
                  for (int k = 0; k < kRows; ++k)
                    store<L>(y + first + k * step, results[k], stream);
                });
              });
}

template <class T, class V = Compute<T>>
void normalize(int64_t rows, int64_t c, int64_t stride, const T* x, const Affine<V>& norm,
               const T* residual, bool relu, const RowsTarget<T>& y) {
  const auto run = [=, mean = norm.mean, scale = norm.scale, bias = norm.bias](auto finish) {
    store_rows(rows, c, stride, y, [=]<int L>(int64_t i, int64_t j) {
      const Vector<V, L> scaled = (load<L>(x + i) - load<L>(mean + j)) * load<L>(scale + j);
      return finish.template operator()<L>(scaled + load<L>(bias + j), i);
    });
  };
  const auto run_with_relu = [=](auto add) {
    if (!relu) return run(add);
    run([=]<int L>(Vector<V, L> v, int64_t i) {
      const Vector<V, L> sum = add.template operator()<L>(v, i);
      return where_positive(sum, sum);
    });
  };
  if (residual == nullptr) {
    run_with_relu([]<int L>(Vector<V, L> v, int64_t) { return v; });
  } else {
    run_with_relu([=]<int L>(Vector<V, L> v, int64_t i) { return v + load<L>(residual + i); });
  }
}

template <class T, class V = Compute<T>>
void normalize_grad(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                    const Affine<V>& norm, const V* shift, const V* slope, bool relu,
                    const RowsTarget<T>& grad_x) {
  const auto run = [=, mean = norm.mean, scale = norm.scale](auto pass) {
    store_rows(rows, c, stride, grad_x, [=]<int L>(int64_t i, int64_t j) {
      const Vector<V, L> deviation = load<L>(x + i) - load<L>(mean + j);
      const Vector<V, L> factor = load<L>(scale + j);
      const Vector<V, L> grad =
          pass.template operator()<L>(load<L>(grad_y + i), deviation * factor, j);
      return (grad - load<L>(shift + j) - deviation * load<L>(slope + j)) * factor;
    });
  };
  if (relu) {
    run([bias = norm.bias]<int L>(Vector<V, L> grad, Vector<V, L> scaled, int64_t j) {
      const Vector<V, L> y = scaled + load<L>(bias + j);
      return where_positive(y, grad);
    });
  } else {
    run([]<int L>(Vector<V, L> grad, Vector<V, L>, int64_t) { return grad; });
  }
}

template <class T, class V = Compute<T>>
void scale_rows(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const V* scale,
                T* grad_x) {
  store_rows<T>(rows, c, stride, {grad_x, false}, [=]<int L>(int64_t i, int64_t j) {
    const Vector<V, L> result = load<L>(grad_y + i) * load<L>(scale + j);
    return result;
  });
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
