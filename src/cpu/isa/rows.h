// Loops over contiguous rows: the hot inner loops of every kernel but convolution.
//
// They are compiled once per instruction set (see cpu/isa.h), without contraction of a*b+c and
// with reductions over lanes that the code fixes, so an element's bits depend neither on its place
// in a range (vector body or scalar tail) nor on the instruction set.
#pragma once

#include <cstdint>

#include "cpu/isa/bfloat16.h"

namespace striate::cpu {

/// One step of SGD; see SGDOptions. `keep` is 1 - dampening.
template <class T>
struct SgdStep {
  T lr, momentum, keep, weight_decay;
  bool nesterov, first;
};
/// One step of Adam: lr is divided by the first bias correction, `root_correction` is the root of
/// the second, `decay` multiplies the parameter (AdamW) and `weight_decay` adds to the gradient.
template <class T>
struct AdamStep {
  T lr, beta1, beta2, rest1, rest2;  // rest = 1 - beta, rounded once: 1 - 0.999f is off by 1e-5
  T eps, root_correction, decay, weight_decay;
};

/// Result r is the sum of the rows at first[j] + offset + r * first_step + i * step, for
/// j < first_count and i < count; results lie result_step apart.
template <class T>
struct RowSums {
  const T* const* first;
  int64_t first_count, offset;
  int64_t count, step;
  int64_t results, first_step, result_step;
  const T* start;  // one more row of each, added first; null for 0
};

/// Element-wise loops. An output may be the very array of an input, but not overlap it otherwise.
/// bfloat16 is computed with in float and rounded when it is stored; V is float there, T otherwise.
template <class T>
struct ElementKernels {
  using V = Compute<T>;
  using Unary = void (*)(int64_t n, const T* x, T* y);
  using UnaryBackward = void (*)(int64_t n, const T* grad_y, const T* saved, T* grad_x);
  /// Steps are 1, or one of them 0: that operand is one value.
  using Binary = void (*)(int64_t n, const T* a, int64_t a_step, const T* b, int64_t b_step, T* y);

  // exp, sigmoid and tanh of float are polynomials within 1, 3 and 2 ulp; the rest is libm's.
  Unary neg, exp, log, sqrt, abs, relu, sigmoid, tanh;
  UnaryBackward exp_backward, log_backward, sqrt_backward, abs_backward, relu_backward,
      sigmoid_backward, tanh_backward;
  Binary add, sub, mul, div;

  /// y = alpha * x + beta * y; null x: beta * y.
  void (*axpby)(int64_t n, V alpha, const T* x, V beta, T* y);
  /// y += x.
  void (*accumulate)(int64_t n, const T* x, T* y);
  /// Blocks of 2048 in V, their sums in double.
  double (*sum)(int64_t n, const T* x);

  // These are null for bfloat16.
  /// y = exp(x - shift).
  void (*shifted_exp)(int64_t n, const T* x, T shift, T* y) = nullptr;
  /// Sums of rows of n elements, which are readable a vector past them.
  void (*row_sums)(const RowSums<T>& sums, int64_t n, T* y) = nullptr;
  /// y[r] = the sum of products of x and row r of a matrix [rows][n].
  void (*dot)(int64_t n, const T* x, int64_t rows, const T* matrix, T* y) = nullptr;
  /// Largest element; NaN is skipped. n >= 1.
  T (*max)(int64_t n, const T* x) = nullptr;

  /// `m` is null without momentum.
  void (*sgd)(int64_t n, const SgdStep<T>& step, T* p, const T* g, T* m) = nullptr;
  void (*adam)(int64_t n, const AdamStep<T>& step, T* p, const T* g, T* m, T* v) = nullptr;
};

/// For each column, the parameters of (x - mean) * scale + bias.
template <class V>
struct Affine {
  const V *mean, *scale, *bias;
};
/// What a gradient has to pass: nothing, or a ReLU. It passes where the ReLU's result `y` was
/// positive, and is stored in `masked`; or, with a null y, where the result of Affine is.
template <class T>
struct ReluGrad {
  bool relu;
  const T* y;
  T* masked;
};

/// Where rows of results go; with `stream`, which takes whole cache lines, past the caches.
template <class T>
struct RowsTarget {
  T* first;
  bool stream;
};

/// Widest block of columns that ColumnKernels' reductions take.
inline constexpr int64_t kMaxColumns = 2048;

/// Loops over x [rows][stride], of which the first `c` columns count.
template <class T>
struct ColumnKernels {
  using V = Compute<T>;

  // Reductions over rows, c <= kMaxColumns: 64 rows in V at a time, their results in double.
  void (*sum)(int64_t rows, int64_t c, int64_t stride, const T* x, double* sum);
  /// Mean and sum of squared deviations from it.
  void (*moments)(int64_t rows, int64_t c, int64_t stride, const T* x, double* mean, double* m2);
  /// Sums of g and of g * (x - mean), where g is what passes of grad_y.
  void (*grad_sums)(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                    const Affine<V>& norm, const ReluGrad<T>& pass, double* sum, double* product);

  /// y = (x - mean) * scale + bias + residual (null: none), then ReLU.
  void (*normalize)(int64_t rows, int64_t c, int64_t stride, const T* x, const Affine<V>& norm,
                    const T* residual, bool relu, const RowsTarget<T>& y);
  /// grad_x = (g - shift - (x - mean) * slope) * scale, where g is grad_y or, with `relu`, 0 where
  /// the result of `norm` is not positive.
  void (*normalize_grad)(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const T* x,
                         const Affine<V>& norm, const V* shift, const V* slope, bool relu,
                         const RowsTarget<T>& grad_x);
  /// grad_x = grad_y * scale.
  void (*scale)(int64_t rows, int64_t c, int64_t stride, const T* grad_y, const V* scale,
                T* grad_x);

  /// One row of local response normalisation: see LocalResponseNormArgs. `ratio` is alpha / size.
  void (*response_norm)(int64_t c, int64_t size, V ratio, V beta, V k, const T* x, T* y, V* scale);
  void (*response_norm_grad)(int64_t c, int64_t size, V ratio, V beta, const T* grad_y, const T* x,
                             const V* scale, T* grad_x);
};

/// The windows along one axis of a pooling.
struct PoolAxis {
  int64_t in, out, kernel, stride, pad, dilation;
  bool adaptive;
  const int64_t* counted;  // coordinates of each window that the divisor of an average counts
};
/// The windows over one image [rows.in][columns.in][c].
struct PoolGrid {
  PoolAxis rows, columns;
  int64_t c;
};

/// A row of a pooling; pointers are to the first pixel of one image.
template <class T>
struct PoolKernels {
  // Output row `row`.
  /// With `relu`, of the largest element, whose index is then -1 if that is 0. Null argmax: not
  /// wanted.
  void (*max)(const PoolGrid& grid, int64_t row, bool relu, const T* x, T* y, int32_t* argmax);
  void (*average)(const PoolGrid& grid, int64_t row, const T* x, T* y);
  /// The gradient of the input rows under output row `row`, if each pixel is in exactly one window.
  void (*max_scatter)(const PoolGrid& grid, int64_t row, const T* grad_y, const int32_t* argmax,
                      T* grad_x);
  // Input row `row` of any pooling's gradient; each element is rounded once.
  void (*max_gather)(const PoolGrid& grid, int64_t row, const T* grad_y, const int32_t* argmax,
                     T* grad_x);
  void (*average_gather)(const PoolGrid& grid, int64_t row, const T* grad_y, T* grad_x);
};

/// Between float and bfloat16.
struct ConvertKernels {
  void (*widen)(int64_t n, const BFloat16* x, float* y);
  void (*narrow)(int64_t n, const float* x, BFloat16* y);
};

template <class T>
struct RowKernels {
  const ElementKernels<T>& element;
  const ColumnKernels<T>& column;
  const PoolKernels<T>& pool;
};

}  // namespace striate::cpu
