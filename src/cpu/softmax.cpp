// Softmax over the middle of [outer][n][inner]: rows where inner is 1, else blocks of columns.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBlock = 64;  // columns done at a time

template <class T>
void softmax_row(const ElementKernels<T>& rows, bool log, int64_t n, const T* x, T* y) {
  const T largest = rows.max(n, x);
  rows.shifted_exp(n, x, largest, y);
  const double total = rows.sum(n, y);
  if (log) {
    rows.sub(n, x, 1, &largest, 0, y);
    const T logarithm = static_cast<T>(std::log(total));
    rows.sub(n, y, 1, &logarithm, 0, y);
  } else {
    const T factor = static_cast<T>(1 / total);
    rows.mul(n, y, 1, &factor, 0, y);
  }
}

/// Rows of `columns` elements, `stride` apart; n of them.
template <class T>
void softmax_columns(const ElementKernels<T>& rows, bool log, int64_t n, int64_t stride,
                     int64_t columns, const T* x, T* y) {
  T largest[kBlock], factor[kBlock];
  double total[kBlock] = {};
  std::copy_n(x, columns, largest);
  for (int64_t i = 1; i < n; ++i) {
    for (int64_t j = 0; j < columns; ++j) largest[j] = std::max(largest[j], x[i * stride + j]);
  }
  for (int64_t i = 0; i < n; ++i) {
    T* row = y + i * stride;
    rows.sub(columns, x + i * stride, 1, largest, 1, row);
    T exponentials[kBlock];
    rows.exp(columns, row, log ? exponentials : row);
    const T* terms = log ? exponentials : row;
    for (int64_t j = 0; j < columns; ++j) total[j] += terms[j];
  }
  for (int64_t j = 0; j < columns; ++j) {
    factor[j] = static_cast<T>(log ? std::log(total[j]) : 1 / total[j]);
  }
  const auto finish = log ? rows.sub : rows.mul;
  for (int64_t i = 0; i < n; ++i) finish(columns, y + i * stride, 1, factor, 1, y + i * stride);
}

/// grad_x = grad_y - exp(y) * sum of grad_y, or y * (grad_y - sum of grad_y * y).
template <class T>
void softmax_backward_columns(const ElementKernels<T>& rows, bool log, int64_t n, int64_t stride,
                              int64_t columns, const T* grad_y, const T* y, T* grad_x) {
  double total[kBlock] = {};
  for (int64_t i = 0; i < n * stride; i += stride) {
    for (int64_t j = 0; j < columns; ++j) {
      total[j] += log ? grad_y[i + j] : double{grad_y[i + j]} * y[i + j];
    }
  }
  T sum[kBlock];
  for (int64_t j = 0; j < columns; ++j) sum[j] = static_cast<T>(total[j]);
  for (int64_t i = 0; i < n * stride; i += stride) {
    if (log) {
      T probability[kBlock];
      rows.exp(columns, y + i, probability);
      for (int64_t j = 0; j < columns; ++j) {
        grad_x[i + j] = grad_y[i + j] - probability[j] * sum[j];
      }
    } else {
      for (int64_t j = 0; j < columns; ++j) {
        grad_x[i + j] = y[i + j] * (grad_y[i + j] - sum[j]);
      }
    }
  }
}

template <class T>
void softmax_backward_row(const ElementKernels<T>& rows, bool log, int64_t n, const T* grad_y,
                          const T* y, T* grad_x) {
  if (log) {
    const T total = static_cast<T>(rows.sum(n, grad_y));
    rows.exp(n, y, grad_x);
    rows.mul(n, grad_x, 1, &total, 0, grad_x);
    rows.sub(n, grad_y, 1, grad_x, 1, grad_x);
  } else {
    rows.mul(n, grad_y, 1, y, 1, grad_x);
    const T total = static_cast<T>(rows.sum(n, grad_x));
    rows.sub(n, grad_y, 1, &total, 0, grad_x);
    rows.mul(n, y, 1, grad_x, 1, grad_x);
  }
}

/// A block of n rows of bfloat16, `stride` apart, as dense rows of float: row i is values + i *
/// columns. Rows of one element are one row.
struct Widened {
  std::vector<float> values;
  int64_t rows, columns, stride;

  Widened(int64_t n, int64_t columns, int64_t stride)
      : values(n * columns),
        rows(stride == 1 ? 1 : n),
        columns(stride == 1 ? n : columns),
        stride(stride) {}
  Widened(const Widened& shape, const BFloat16* x) : Widened(shape) {
    for (int64_t i = 0; i < rows; ++i)
      isa().convert.widen(columns, x + i * stride, values.data() + i * columns);
  }
  void store(BFloat16* y) const {
    for (int64_t i = 0; i < rows; ++i)
      isa().convert.narrow(columns, values.data() + i * columns, y + i * stride);
  }
};

/// Calls block(stride, columns, y, x...) for blocks of columns of the result and the operands;
/// bfloat16 by way of float.
template <class Args, class Block, class... Operand>
void for_each_block_of(const Args& args, const Block& block, void* result, const Operand*... x) {
  with_floating(args.dtype, [&]<class T>(T) {
    for_each_block<kBlock>(
        args.outer, args.inner, 4 * args.n, [&](int64_t outer, int64_t first, int64_t columns) {
          const int64_t offset = outer * args.n * args.inner + first;
          T* y = static_cast<T*>(result) + offset;
          if constexpr (std::is_same_v<T, BFloat16>) {
            Widened narrowed(args.n, columns, args.inner);
            const auto widened = [&](const void* operand) {
              return Widened(narrowed, static_cast<const T*>(operand) + offset);
            };
            block(columns, columns, narrowed.values.data(), widened(x).values.data()...);
            narrowed.store(y);
          } else {
            block(args.inner, columns, y, (static_cast<const T*>(x) + offset)...);
          }
        });
  });
}

}  // namespace

void softmax(const SoftmaxArgs& args, Stream) {
  if (args.n == 0) return;
  const auto block = [&]<class T>(int64_t stride, int64_t columns, T* y, const T* x) {
    const ElementKernels<T>& rows = isa().rows<T>().element;
    stride == 1 ? softmax_row(rows, args.log, args.n, x, y)
                : softmax_columns(rows, args.log, args.n, stride, columns, x, y);
  };
  for_each_block_of(args, block, args.y, args.x);
}

void softmax_backward(const SoftmaxBackwardArgs& args, Stream) {
  const auto block = [&]<class T>(int64_t stride, int64_t columns, T* grad_x, const T* grad_y,
                                  const T* y) {
    const ElementKernels<T>& rows = isa().rows<T>().element;
    stride == 1
        ? softmax_backward_row(rows, args.log, args.n, grad_y, y, grad_x)
        : softmax_backward_columns(rows, args.log, args.n, stride, columns, grad_y, y, grad_x);
  };
  for_each_block_of(args, block, args.grad_x, args.grad_y, args.y);
}

}  // namespace striate::cpu
