// Sums and maxima. A sum is cut into chunks by its geometry alone and the chunks are joined in
// order, so that it has the same bits for any number of threads.
#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>

#include "cpu/columns.h"
#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// Sum of n contiguous elements.
template <class T>
double sum_contiguous(const T* x, int64_t n) {
  const auto row_sum = isa().rows<T>().element.sum;
  return reduce_chunks<128>(
      n, kElementGrain, 1,
      [&](int64_t begin, int64_t end) { return row_sum(end - begin, x + begin); },
      [](double& total, double part) { total += part; });
}

/// Sum over a strided space, in its order.
template <class T>
auto sum_strided(const T* x, const Dims& shape, const Dims& strides) {
  using Sum = std::conditional_t<kIsFloating<T>, double, uint64_t>;
  const int64_t step = strides.empty() ? 1 : strides.back();
  Sum total = 0;
  for_each_run<1>(shape, {&strides}, 0, numel(shape), [&](const auto& offsets, int64_t count) {
    const T* run = x + offsets[0];
    if constexpr (kIsFloating<T>) {
      if (step == 1) {
        total += sum_contiguous(run, count);
        return;
      }
    }
    for (int64_t i = 0; i < count; ++i) total += static_cast<Sum>(value_of(run[i * step]));
  });
  return total;
}

/// Calls body(position, offset) for the kept elements [begin, end).
template <class Body>
void for_each_kept(const Dims& kept, const Dims& strides, int64_t begin, int64_t end,
                   const Body& body) {
  const int64_t step = strides.empty() ? 0 : strides.back();
  for_each_run<1>(kept, {&strides}, begin, end, [&](const auto& offsets, int64_t count) {
    for (int64_t i = 0; i < count; ++i) body(begin + i, offsets[0] + i * step);
    begin += count;
  });
}

/// The kept elements' last dimension is contiguous and the reduced ones are rows at one stride.
template <class T>
void sum_columns(const SumArgs& args) {
  const auto column_sum = isa().rows<T>().column.sum;
  const int64_t rows = args.reduced.back(), stride = args.reduced_strides.back();
  const int64_t c = args.kept.back();
  const Dims outer(args.kept.begin(), args.kept.end() - 1);
  const Dims outer_strides(args.kept_strides.begin(), args.kept_strides.end() - 1);
  const int64_t count = numel(outer);
  const int64_t grain = count >= 8 ? grain_for(rows * c) : count + 1;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for_each_kept(outer, outer_strides, begin, end, [&](int64_t position, int64_t offset) {
      const T* x = static_cast<const T*>(args.x) + offset;
      T* y = static_cast<T*>(args.y) + position * c;
      reduce_columns<1>(
          rows, c,
          [&](int64_t row, int64_t row_count, int64_t column, int64_t columns, const auto& parts,
              int64_t chunk) {
            column_sum(row_count, columns, stride, x + row * stride + column, parts(chunk, 0));
          },
          [&](int64_t column, int64_t columns, const auto& parts, int64_t chunks, int64_t) {
            double sums[kMaxColumns];
            sum_parts(parts, chunks, 0, columns, sums);
            for (int64_t j = 0; j < columns; ++j) y[column + j] = convert<T>(args.scale * sums[j]);
          });
    });
  });
}

template <class T>
void sum_of(const SumArgs& args) {
  const int64_t reduced_count = numel(args.reduced);
  if constexpr (kIsFloating<T>) {
    if (!args.kept.empty() && args.kept_strides.back() == 1 && args.reduced.size() == 1 &&
        args.reduced_strides.back() != 1) {
      return sum_columns<T>(args);
    }
  }
  const int64_t count = numel(args.kept);
  const T* x = static_cast<const T*>(args.x);
  // Few sums: threads share each of them, inside sum_contiguous().
  const int64_t grain = count >= 8 ? grain_for(reduced_count) : count + 1;
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for_each_kept(args.kept, args.kept_strides, begin, end, [&](int64_t position, int64_t offset) {
      const auto total = sum_strided(x + offset, args.reduced, args.reduced_strides);
      if constexpr (kIsFloating<T>) {
        static_cast<T*>(args.y)[position] = convert<T>(args.scale * total);
      } else {
        static_cast<int64_t*>(args.y)[position] = static_cast<int64_t>(total);
      }
    });
  });
}

template <class T>
struct Best {
  T value;
  int64_t index;

  /// Later candidates win only if greater, or if they are the first NaN.
  void offer(T candidate, int64_t at) {
    const auto best = value_of(value);
    if (!(value_of(candidate) <= best) && best == best) *this = {candidate, at};
  }
};

template <class T>
void store_best(const MaxArgs& args, int64_t position, const Best<T>& best) {
  if (args.values != nullptr) static_cast<T*>(args.values)[position] = best.value;
  if (args.indices != nullptr) args.indices[position] = best.index;
}

template <class T>
Best<T> best_of(const T* x, int64_t begin, int64_t end) {
  Best<T> best{x[begin], begin};
  for (int64_t i = begin + 1; i < end; ++i) best.offer(x[i], i);
  return best;
}

/// Maximum of each of few long rows.
template <class T>
void max_of_rows(const MaxArgs& args) {
  const T* x = static_cast<const T*>(args.x);
  for (int64_t row = 0; row < args.outer; ++row, x += args.n) {
    const Best<T> best = reduce_chunks<128>(
        args.n, kElementGrain, 1,
        [&](int64_t begin, int64_t end) { return best_of(x, begin, end); },
        [](Best<T>& so_far, const Best<T>& part) { so_far.offer(part.value, part.index); });
    store_best(args, row, best);
  }
}

/// Blocks of the inner dimension, so that rows are read along it.
template <class T>
void max_of_columns(const MaxArgs& args) {
  constexpr int64_t kBlock = 64;
  for_each_block<kBlock>(
      args.outer, args.inner, args.n, [&](int64_t outer, int64_t first, int64_t width) {
        std::array<Best<T>, kBlock> best;
        const T* x = static_cast<const T*>(args.x) + outer * args.n * args.inner + first;
        for (int64_t j = 0; j < width; ++j) best[j] = {x[j], 0};
        for (int64_t i = 1; i < args.n; ++i) {
          for (int64_t j = 0; j < width; ++j) best[j].offer(x[i * args.inner + j], i);
        }
        for (int64_t j = 0; j < width; ++j)
          store_best(args, outer * args.inner + first + j, best[j]);
      });
}

}  // namespace

void sum(const SumArgs& args, Stream) {
  with_any(args.x_dtype, [&]<class T>(T) { sum_of<T>(args); });
}

void max(const MaxArgs& args, Stream) {
  with_any(args.dtype, [&]<class T>(T) {
    if (args.inner == 1 && args.outer < 8) return max_of_rows<T>(args);
    max_of_columns<T>(args);
  });
}

void max_backward(const MaxBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const T* grad_y = static_cast<const T*>(args.grad_y);
    T* grad_x = static_cast<T*>(args.grad_x);
    const int64_t slice = args.n * args.inner;
    parallel_for(args.outer, grain_for(slice), [&](int64_t begin, int64_t end) {
      std::fill(grad_x + begin * slice, grad_x + end * slice, T{});
      for (int64_t i = begin * args.inner; i < end * args.inner; ++i) {
        const int64_t outer = i / args.inner, inner = i % args.inner;
        grad_x[outer * slice + args.indices[i] * args.inner + inner] = grad_y[i];
      }
    });
  });
}

}  // namespace striate::cpu
