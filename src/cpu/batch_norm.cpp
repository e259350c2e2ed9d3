// Batch normalisation (Ioffe and Szegedy 2015) over the rows of x [rows][c]: one pass for the
// statistics and one to apply them, forward and backward alike. Bound by memory, so what follows
// it, a residual and ReLU, is done in the same passes.
#include <algorithm>
#include <cmath>

#include "cpu/columns.h"
#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// Columns done at a time: their coefficients live on the stack.
constexpr int64_t kGroup = kMaxColumns;

struct Group {
  int64_t first, columns;
  int64_t merged;  // rows that are treated as one, so that narrow ones fill the vectors
};

template <class Body>
void for_each_group(int64_t c, const Body& body) {
  constexpr int64_t kWidth = 256;
  for (int64_t first = 0; first < c; first += kGroup) {
    body(Group{first, std::min(kGroup, c - first), std::max<int64_t>(kWidth / c, 1)});
  }
}

/// A coefficient for each column of a group, repeated for the rows that are merged.
template <class T>
struct Coefficients {
  T values[kGroup];

  template <class Function>
  Coefficients(const Group& group, const Function& value_of_column) {
    for (int64_t j = 0; j < group.columns; ++j) {
      values[j] = static_cast<T>(value_of_column(group.first + j));
    }
    for (int64_t j = group.columns; j < group.columns * group.merged; ++j) {
      values[j] = values[j - group.columns];
    }
  }
  operator const T*() const { return values; }  // NOLINT: read as an array
};

/// Calls apply(rows, width, stride, offset) on ranges that cover the group's columns of all rows.
template <class Apply>
void apply_to_rows(int64_t rows, int64_t c, const Group& group, const Apply& apply) {
  const int64_t width = group.columns * group.merged, stride = c * group.merged;
  const int64_t rest = rows % group.merged;
  parallel_for(rows / group.merged, grain_for(width), [&](int64_t begin, int64_t end) {
    apply(end - begin, width, stride, begin * stride + group.first);
  });
  // A region of its own: it ends with a fence and flushes denormals as the others do.
  parallel_for(rest > 0, 1, [&](int64_t, int64_t) {
    apply(1, rest * group.columns, stride, (rows - rest) * c + group.first);
  });
}

/// An optional array's element.
template <class T>
T element_or(const void* array, int64_t i, T fallback) {
  return array == nullptr ? fallback : static_cast<const T*>(array)[i];
}

/// A smaller result is still in the caches when the convolution that follows reads it.
constexpr int64_t kStreamedBytes = 3 << 20;

template <class T>
bool streams(const T* result, int64_t rows, int64_t c) {
  const int64_t row_bytes = c * int64_t{sizeof(T)};
  return past_caches(result, rows * row_bytes, kStreamedBytes, row_bytes);
}

/// Batch statistics into save_mean and save_invstd; moves the running ones.
template <class T, class V = Compute<T>>
void batch_statistics(const BatchNormArgs& args) {
  const auto moments = isa().rows<T>().column.moments;
  const T* x = static_cast<const T*>(args.x);
  const double n = static_cast<double>(args.rows);
  const auto move = [&](void* running, int64_t i, double value) {
    if (running == nullptr) return;
    V& target = static_cast<V*>(running)[i];
    target = static_cast<V>((1 - args.momentum) * target + args.momentum * value);
  };
  /// From chunks' means and sums of squared deviations, value(chunk, 0 or 1)[column].
  const auto join = [&](int64_t column, int64_t columns, const auto& value, int64_t chunks,
                        int64_t chunk_rows) {
    const auto count_of = [&](int64_t k) {
      return static_cast<double>(std::min(chunk_rows, args.rows - k * chunk_rows));
    };
    constexpr int64_t kBlock = 64;
    for (int64_t first = 0; first < columns; first += kBlock) {
      const int64_t width = std::min(kBlock, columns - first);
      double mean[kBlock] = {}, m2[kBlock] = {};
      for (int64_t k = 0; k < chunks; ++k)
        for (int64_t j = 0; j < width; ++j) mean[j] += count_of(k) * value(k, 0)[first + j];
      for (double& sum : mean) sum /= n;
      for (int64_t k = 0; k < chunks; ++k) {
        for (int64_t j = 0; j < width; ++j) {
          const double offset = value(k, 0)[first + j] - mean[j];
          m2[j] += value(k, 1)[first + j] + count_of(k) * offset * offset;
        }
      }
      for (int64_t j = 0; j < width; ++j) {
        const int64_t i = column + first + j;
        static_cast<V*>(args.save_mean)[i] = static_cast<V>(mean[j]);
        static_cast<V*>(args.save_invstd)[i] = static_cast<V>(1 / std::sqrt(m2[j] / n + args.eps));
        move(args.running_mean, i, mean[j]);
        move(args.running_var, i, m2[j] / (n - 1));
      }
    }
  };
  if (const double* values = args.moments.values) {
    const auto value = [&](int64_t k, int which) { return values + (k * 2 + which) * args.c; };
    return join(0, args.c, value, ceil_div(args.rows, args.moments.chunk_rows),
                args.moments.chunk_rows);
  }
  reduce_columns<2>(
      args.rows, args.c,
      [&](int64_t row, int64_t rows, int64_t column, int64_t columns, const auto& parts,
          int64_t chunk) {
        moments(rows, columns, args.c, x + row * args.c + column, parts(chunk, 0), parts(chunk, 1));
      },
      join);
}

template <class T, class V = Compute<T>>
void batch_norm_of(const BatchNormArgs& args) {
  if (args.training) batch_statistics<T>(args);
  const auto normalize = isa().rows<T>().column.normalize;
  const T* x = static_cast<const T*>(args.x);
  const T* residual = static_cast<const T*>(args.residual);
  T* y = static_cast<T*>(args.y);
  const bool stream = streams(y, args.rows, args.c);
  const void* mean_array = args.training ? args.save_mean : args.running_mean;
  for_each_group(args.c, [&](const Group& group) {
    const Coefficients<V> mean(group,
                               [&](int64_t i) { return static_cast<const V*>(mean_array)[i]; });
    const Coefficients<V> scale(group, [&](int64_t i) {
      const double invstd =
          args.training ? static_cast<const V*>(args.save_invstd)[i]
                        : 1 / std::sqrt(static_cast<const V*>(args.running_var)[i] + args.eps);
      return invstd * element_or<V>(args.weight, i, 1);
    });
    const Coefficients<V> bias(group, [&](int64_t i) { return element_or<V>(args.bias, i, 0); });
    const Affine<V> norm{mean, scale, bias};
    apply_to_rows(
        args.rows, args.c, group, [&](int64_t rows, int64_t width, int64_t stride, int64_t offset) {
          normalize(rows, width, stride, x + offset, norm, residual ? residual + offset : nullptr,
                    args.relu, {y + offset, stream});
        });
  });
}

/// g is grad_y where the ReLU, if any, let it through. With a residual, the first pass stores it
/// and the second reads that instead of mask and grad_y; without, both compute the mask from x.
///
/// With x^ = (x - mean) invstd: grad_bias = sum of g, grad_weight = sum of g x^ and
/// grad_x = weight invstd (g - grad_bias / n - x^ grad_weight / n), or, in evaluation, where the
/// statistics are constants, weight invstd g.
template <class T, class V = Compute<T>>
void batch_norm_backward_of(const BatchNormBackwardArgs& args) {
  const ColumnKernels<T>& kernels = isa().rows<T>().column;
  const T* grad_y = static_cast<const T*>(args.grad_y);
  const T* x = static_cast<const T*>(args.x);
  const V* means = static_cast<const V*>(args.mean);
  const V* invstds = static_cast<const V*>(args.invstd);
  const T* y = static_cast<const T*>(args.y);
  T* grad_x = static_cast<T*>(args.grad_x);
  T* masked = static_cast<T*>(args.grad_residual);
  const T* passed = masked ? masked : grad_y;  // the second pass reads
  const double n = static_cast<double>(args.rows);
  const bool stream = streams(grad_x, args.rows, args.c);
  const bool wants_first_pass =
      args.grad_weight || args.grad_bias || masked || (args.training && grad_x);

  for_each_group(args.c, [&](const Group& group) {
    const Coefficients<V> mean(group, [&](int64_t i) { return means[i]; });
    const Coefficients<V> scale(
        group, [&](int64_t i) { return invstds[i] * element_or<V>(args.weight, i, 1); });
    const Coefficients<V> bias(group, [&](int64_t i) { return element_or<V>(args.bias, i, 0); });
    double grad_bias[kGroup], grad_weight[kGroup];
    if (wants_first_pass) {
      reduce_columns<2>(
          args.rows, group.columns,
          [&](int64_t row, int64_t rows, int64_t column, int64_t columns, const auto& parts,
              int64_t chunk) {
            const int64_t offset = row * args.c + group.first + column;
            kernels.grad_sums(
                rows, columns, args.c, grad_y + offset, x + offset,
                {mean + column, scale + column, bias + column},
                {args.relu, y ? y + offset : nullptr, masked ? masked + offset : nullptr},
                parts(chunk, 0), parts(chunk, 1));
          },
          [&](int64_t column, int64_t columns, const auto& parts, int64_t chunks, int64_t) {
            sum_parts(parts, chunks, 0, columns, grad_bias + column);
            sum_parts(parts, chunks, 1, columns, grad_weight + column);
            for (int64_t j = 0; j < columns; ++j) {
              const int64_t k = column + j, i = group.first + k;
              grad_weight[k] *= invstds[i];
              if (args.grad_bias) static_cast<V*>(args.grad_bias)[i] = static_cast<V>(grad_bias[k]);
              if (args.grad_weight) {
                static_cast<V*>(args.grad_weight)[i] = static_cast<V>(grad_weight[k]);
              }
            }
          });
    }
    if (grad_x == nullptr) return;

    if (!args.training) {
      apply_to_rows(args.rows, args.c, group,
                    [&](int64_t rows, int64_t width, int64_t stride, int64_t offset) {
                      kernels.scale(rows, width, stride, passed + offset, scale, grad_x + offset);
                    });
      return;
    }
    const Affine<V> norm{mean, scale, bias};
    const Coefficients<V> shift(group, [&](int64_t i) { return grad_bias[i - group.first] / n; });
    const Coefficients<V> slope(
        group, [&](int64_t i) { return grad_weight[i - group.first] * invstds[i] / n; });
    apply_to_rows(
        args.rows, args.c, group, [&](int64_t rows, int64_t width, int64_t stride, int64_t offset) {
          kernels.normalize_grad(rows, width, stride, passed + offset, x + offset, norm, shift,
                                 slope, args.relu && !masked, {grad_x + offset, stream});
        });
  });
}

}  // namespace

void batch_norm(const BatchNormArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) { batch_norm_of<T>(args); });
}

void batch_norm_backward(const BatchNormBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) { batch_norm_backward_of<T>(args); });
}

}  // namespace striate::cpu
