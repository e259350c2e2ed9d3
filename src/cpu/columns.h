// Reductions of x [rows][c] over its rows. The work is cut into blocks of columns and chunks of
// rows by the geometry alone; chunks are joined in order, whichever thread did them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/dispatch.h"
#include "cpu/isa/rows.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {

/// Results of one chunk: kValues numbers for each column of a block.
template <int kValues>
using ColumnPart = double[kValues][kMaxColumns];

/// For every block of columns: reduce(first_row, rows, first_column, columns, part) for each chunk,
/// then finish(first_column, columns, parts, chunks, chunk_rows) with the chunks' parts in order;
/// every chunk has chunk_rows rows, the last one what is left.
template <int kValues, class Reduce, class Finish>
void reduce_columns(int64_t rows, int64_t c, const Reduce& reduce, const Finish& finish) {
  constexpr int64_t kTasks = 64, kChunks = 32, kChunkElements = 8192;
  const int64_t blocks = ceil_div(c, kMaxColumns);
  const int64_t worthwhile = ceil_div(rows * std::min(c, kMaxColumns), kChunkElements);
  const int64_t wanted = std::clamp<int64_t>(std::min(kTasks / blocks, worthwhile), 1, kChunks);
  const int64_t chunk_rows = std::max<int64_t>(ceil_div(rows, wanted), 1);
  const int64_t chunks = std::max<int64_t>(ceil_div(rows, chunk_rows), 1);
  const int64_t group = kTasks / chunks;  // blocks whose parts fit on the stack
  const int64_t task_grain = grain_for(chunk_rows * std::min(c, kMaxColumns));

  const int64_t group_grain = blocks > group ? grain_for(group * kMaxColumns * rows) : 2;

  // Several groups: a thread does whole groups, and the inner loop is serial. One: threads share
  // it.
  parallel_for(ceil_div(blocks, group), group_grain, [&](int64_t begin, int64_t end) {
    ColumnPart<kValues> parts[kTasks];
    for (int64_t first = begin * group; first < std::min(end * group, blocks); first += group) {
      const int64_t count = std::min(group, blocks - first);
      parallel_for(count * chunks, task_grain, [&](int64_t task, int64_t last) {
        for (; task < last; ++task) {
          const int64_t column = (first + task / chunks) * kMaxColumns;
          const int64_t row = task % chunks * chunk_rows;
          reduce(row, std::min(chunk_rows, rows - row), column, std::min(kMaxColumns, c - column),
                 parts[task]);
        }
      });
      for (int64_t block = 0; block < count; ++block) {
        const int64_t column = (first + block) * kMaxColumns;
        finish(column, std::min(kMaxColumns, c - column), parts + block * chunks, chunks,
               chunk_rows);
      }
    }
  });
}

/// Count, mean and sum of squared deviations of some values.
struct Moments {
  double count, mean, m2;

  /// Takes in other values. (Chan, Golub and LeVeque 1983.)
  void join(const Moments& other) {
    const double delta = other.mean - mean, share = other.count / (count + other.count);
    mean += delta * share;
    m2 += other.m2 + delta * delta * count * share;
    count += other.count;
  }
};

/// Sums value `value` of column j over the chunks.
template <int kValues>
double sum_parts(const ColumnPart<kValues>* parts, int64_t chunks, int value, int64_t j) {
  double total = 0;
  for (int64_t k = 0; k < chunks; ++k) total += parts[k][value][j];
  return total;
}

}  // namespace striate::cpu
