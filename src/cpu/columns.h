// Reductions of x [rows][c] over its rows. The work is cut into blocks of columns and chunks of
// rows by the geometry alone; chunks are joined in order, whichever thread did them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/dispatch.h"
#include "cpu/isa/rows.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {

/// Results of chunks: kValues numbers for each column of a block.
template <int kValues>
struct ColumnParts {
  double* values;
  int64_t columns;

  /// Value `value` of the columns of chunk `chunk`.
  double* operator()(int64_t chunk, int value) const {
    return values + (chunk * kValues + value) * columns;
  }
};

/// For every block of columns: reduce(first_row, rows, first_column, columns, parts, chunk) for
/// each chunk, then finish(first_column, columns, parts, chunks, chunk_rows); every chunk has
/// chunk_rows rows, the last one what is left. Blocks are wide: memory is fast where it is read,
/// and even more so written, from end to end.
template <int kValues, class Reduce, class Finish>
void reduce_columns(int64_t rows, int64_t c, const Reduce& reduce, const Finish& finish) {
  constexpr int64_t kStack = 16384, kValuesOnStack = kValues * kStack;
  constexpr int64_t kChunks = 32, kChunkRows = 64, kChunkElements = 8192;
  const int64_t width = std::min(c, kMaxColumns);
  const int64_t blocks = ceil_div(c, width), capacity = kStack / width;
  const int64_t worthwhile = std::min(rows / kChunkRows, ceil_div(rows * width, kChunkElements));
  const int64_t most = std::clamp<int64_t>(capacity / blocks, 1, kChunks);
  const int64_t wanted = std::clamp<int64_t>(worthwhile, 1, most);
  const int64_t chunk_rows = std::max<int64_t>(ceil_div(rows, wanted), 1);
  const int64_t chunks = std::max<int64_t>(ceil_div(rows, chunk_rows), 1);
  const int64_t group = capacity / chunks;  // blocks whose parts fit on the stack
  const int64_t task_grain = grain_for(chunk_rows * width);

  const int64_t group_grain = blocks > group ? grain_for(group * width * rows) : 2;

  // Several groups: a thread does whole groups, and the inner loop is serial. One: threads share
  // it.
  parallel_for(ceil_div(blocks, group), group_grain, [&](int64_t begin, int64_t end) {
    double values[kValuesOnStack];
    for (int64_t first = begin * group; first < std::min(end * group, blocks); first += group) {
      const int64_t count = std::min(group, blocks - first);
      const auto parts_of = [&](int64_t block) {
        return ColumnParts<kValues>{values + block * chunks * kValues * width, width};
      };
      parallel_for(count * chunks, task_grain, [&](int64_t task, int64_t last) {
        for (; task < last; ++task) {
          const int64_t block = task / chunks, chunk = task % chunks;
          const int64_t column = (first + block) * width, row = chunk * chunk_rows;
          reduce(row, std::min(chunk_rows, rows - row), column, std::min(width, c - column),
                 parts_of(block), chunk);
        }
      });
      for (int64_t block = 0; block < count; ++block) {
        const int64_t column = (first + block) * width;
        finish(column, std::min(width, c - column), parts_of(block), chunks, chunk_rows);
      }
    }
  });
}

/// sums[0..columns) = value `value` summed over the chunks: chunk by chunk, because a column's
/// parts lie a power of two apart and would throw each other out of the L1 cache.
template <int kValues>
void sum_parts(const ColumnParts<kValues>& parts, int64_t chunks, int value, int64_t columns,
               double* sums) {
  std::fill_n(sums, columns, 0.0);
  for (int64_t k = 0; k < chunks; ++k)
    for (int64_t j = 0; j < columns; ++j) sums[j] += parts(k, value)[j];
}

}  // namespace striate::cpu
