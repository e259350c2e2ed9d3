// Softmax over the middle of [outer][n][inner]: rows where inner is 1, else blocks of columns.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBlock = 64;  // columns done at a time

/// Calls run(offset, columns) for blocks of the inner dimension of every outer index.
template <class Run>
void for_each_block(int64_t outer, int64_t n, int64_t inner, const Run& run) {
  const int64_t blocks = ceil_div(inner, kBlock);
  const int64_t work = 4 * n * std::min(kBlock, inner);
  parallel_for(outer * blocks, grain_for(work), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item % blocks * kBlock;
      run(item / blocks * n * inner + first, std::min(kBlock, inner - first));
    }
  });
}

template <class T>
void softmax_row(const ElementKernels<T>& rows, bool log, int64_t n, const T* x, T* y) {
  const T largest = rows.max(n, x);
  rows.shifted_exp(n, x, largest, y);
  const double total = rows.sum(n, y);
  if (log) {
    rows.sub.scalar_second(n, x, largest, y);
    rows.sub.scalar_second(n, y, static_cast<T>(std::log(total)), y);
  } else {
    rows.mul.scalar_second(n, y, static_cast<T>(1 / total), y);
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
    rows.sub.vectors(columns, x + i * stride, largest, row);
    T exponentials[kBlock];
    rows.exp(columns, row, log ? exponentials : row);
    const T* terms = log ? exponentials : row;
    for (int64_t j = 0; j < columns; ++j) total[j] += terms[j];
  }
  for (int64_t j = 0; j < columns; ++j) {
    factor[j] = static_cast<T>(log ? std::log(total[j]) : 1 / total[j]);
  }
  const auto finish = log ? rows.sub.vectors : rows.mul.vectors;
  for (int64_t i = 0; i < n; ++i) finish(columns, y + i * stride, factor, y + i * stride);
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
    rows.mul.scalar_second(n, grad_x, total, grad_x);
    rows.sub.vectors(n, grad_y, grad_x, grad_x);
  } else {
    rows.mul.vectors(n, grad_y, y, grad_x);
    const T total = static_cast<T>(rows.sum(n, grad_x));
    rows.sub.scalar_second(n, grad_y, total, grad_x);
    rows.mul.vectors(n, y, grad_x, grad_x);
  }
}

// --- bfloat16: pieces of up to kBlock elements are widened to float and narrowed again -----------

/// A run of memory within the block of columns at `offset`: a row of it or, where rows have one
/// element, several rows.
struct Piece {
  int64_t at, count;
  bool one_column;

  int64_t column(int64_t k) const { return one_column ? 0 : k; }
};

template <class Run>
void for_each_piece(int64_t n, int64_t inner, int64_t offset, int64_t columns, const Run& run) {
  if (inner > 1) {
    for (int64_t i = 0; i < n; ++i) run(Piece{offset + i * inner, columns, false});
  } else {
    for (int64_t i = 0; i < n; i += kBlock) run(Piece{offset + i, std::min(kBlock, n - i), true});
  }
}

void softmax_bfloat16(const SoftmaxArgs& args) {
  const ElementKernels<float>& rows = isa().rows_float.element;
  const ConvertKernels& convert = isa().convert;
  const auto* x = static_cast<const BFloat16*>(args.x);
  auto* y = static_cast<BFloat16*>(args.y);
  for_each_block(args.outer, args.n, args.inner, [&](int64_t offset, int64_t columns) {
    float values[kBlock], exponentials[kBlock], largest[kBlock];
    double total[kBlock] = {};
    std::fill_n(largest, kBlock, -std::numeric_limits<float>::infinity());
    const auto for_each = [&](const auto& run) {
      for_each_piece(args.n, args.inner, offset, columns, [&](const Piece& piece) {
        convert.widen(piece.count, x + piece.at, values);
        run(piece);
      });
    };
    for_each([&](const Piece& piece) {
      for (int64_t k = 0; k < piece.count; ++k) {
        float& best = largest[piece.column(k)];
        best = std::max(best, values[k]);  // NaN is met again below
      }
    });
    const auto shift = [&](const Piece& piece) {
      for (int64_t k = 0; k < piece.count; ++k) values[k] -= largest[piece.column(k)];
      rows.exp(piece.count, values, exponentials);
    };
    for_each([&](const Piece& piece) {
      shift(piece);
      for (int64_t k = 0; k < piece.count; ++k) total[piece.column(k)] += exponentials[k];
    });
    for_each([&](const Piece& piece) {
      shift(piece);
      for (int64_t k = 0; k < piece.count; ++k) {
        const double sum = total[piece.column(k)];
        values[k] =
            static_cast<float>(args.log ? values[k] - std::log(sum) : exponentials[k] / sum);
      }
      convert.narrow(piece.count, values, y + piece.at);
    });
  });
}

void softmax_backward_bfloat16(const SoftmaxBackwardArgs& args) {
  const ConvertKernels& convert = isa().convert;
  const auto* grad_y = static_cast<const BFloat16*>(args.grad_y);
  const auto* y = static_cast<const BFloat16*>(args.y);
  auto* grad_x = static_cast<BFloat16*>(args.grad_x);
  for_each_block(args.outer, args.n, args.inner, [&](int64_t offset, int64_t columns) {
    float grads[kBlock], outputs[kBlock];
    double total[kBlock] = {};
    const auto for_each = [&](const auto& run) {
      for_each_piece(args.n, args.inner, offset, columns, [&](const Piece& piece) {
        convert.widen(piece.count, grad_y + piece.at, grads);
        convert.widen(piece.count, y + piece.at, outputs);
        run(piece);
      });
    };
    for_each([&](const Piece& piece) {
      for (int64_t k = 0; k < piece.count; ++k) {
        total[piece.column(k)] += args.log ? grads[k] : double{grads[k]} * outputs[k];
      }
    });
    for_each([&](const Piece& piece) {
      if (args.log) isa().rows_float.element.exp(piece.count, outputs, outputs);
      for (int64_t k = 0; k < piece.count; ++k) {
        const double sum = total[piece.column(k)];
        grads[k] = static_cast<float>(args.log ? grads[k] - outputs[k] * sum
                                               : outputs[k] * (grads[k] - sum));
      }
      convert.narrow(piece.count, grads, grad_x + piece.at);
    });
  });
}

}  // namespace

void softmax(const SoftmaxArgs& args, Stream) {
  if (args.n == 0) return;
  if (args.dtype == DType::kBFloat16) return softmax_bfloat16(args);
  with_real(args.dtype, [&]<class T>(T) {
    const ElementKernels<T>& rows = isa().rows<T>().element;
    for_each_block(args.outer, args.n, args.inner, [&](int64_t offset, int64_t columns) {
      const T* x = static_cast<const T*>(args.x) + offset;
      T* y = static_cast<T*>(args.y) + offset;
      if (args.inner == 1) {
        softmax_row(rows, args.log, args.n, x, y);
      } else {
        softmax_columns(rows, args.log, args.n, args.inner, columns, x, y);
      }
    });
  });
}

void softmax_backward(const SoftmaxBackwardArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) return softmax_backward_bfloat16(args);
  with_real(args.dtype, [&]<class T>(T) {
    const ElementKernels<T>& rows = isa().rows<T>().element;
    for_each_block(args.outer, args.n, args.inner, [&](int64_t offset, int64_t columns) {
      const T* grad_y = static_cast<const T*>(args.grad_y) + offset;
      const T* y = static_cast<const T*>(args.y) + offset;
      T* grad_x = static_cast<T*>(args.grad_x) + offset;
      if (args.inner == 1) {
        softmax_backward_row(rows, args.log, args.n, grad_y, y, grad_x);
      } else {
        softmax_backward_columns(rows, args.log, args.n, args.inner, columns, grad_y, y, grad_x);
      }
    });
  });
}

}  // namespace striate::cpu
