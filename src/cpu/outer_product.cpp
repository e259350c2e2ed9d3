// Channels-last operands are read in columns: pieces of a row of a cache line or two, a power of
// two apart, which share a few sets of the L1 cache and lie on a page each. So a block of either is
// copied densely once and then read from the cache by all tiles that share it.
#include "cpu/outer_product.h"

#include <algorithm>

#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

template <class T>
int64_t steps(int64_t terms) {
  return ceil_div(terms, kStep<T>);
}

// Of a, copied by all blocks before the next ones: a line that two blocks share is still in the L1
// cache, which has room for this many in each set.
template <class T>
constexpr int64_t kPackedTerms = 8 * kStep<T>;

/// Columns of an operand that tiles ask for, a cache line of each row at a time.
template <class T>
struct Upcoming {
  const T* next;
  int64_t columns, step;  // that are left; between rows

  Ahead<T> line() {
    if (columns <= 0) return {next, 0};
    constexpr int64_t kLine = 64 / sizeof(T);
    const Ahead<T> result{next, step};
    next += kLine;
    columns -= kLine;
    return result;
  }
};

}  // namespace

template <class T>
int64_t OuterProducts<T>::row_blocks(int64_t rows) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  return ceil_div(rows, int64_t{gemm.shapes[gemm.count - 1].rows});  // the widest has the fewest
}

template <class T>
OuterProducts<T>::OuterProducts(int64_t rows, int64_t count)
    : a_(std::make_unique_for_overwrite<T[]>(rows * steps<T>(count) * kStep<T>)),
      b_(std::make_unique_for_overwrite<T[]>(
          packs_b(rows) ? steps<T>(count) * kStep<T> * kMaxTileWidth : 0)),
      b_rows_(std::make_unique_for_overwrite<const T*[]>(steps<T>(count))) {}

template <class T>
void OuterProducts<T>::run(const OuterProduct<T>& product, const OuterPanel<T>* panels,
                           int64_t count) {
  const int64_t step_count = steps<T>(product.count);
  const int64_t terms = step_count * kStep<T>;
  const bool pack_a = kStep<T> > 1 || count > 1, pack_b = packs_b(product.rows);
  const int64_t blocks = row_blocks(product.rows);
  const auto for_each_block = [&](const auto& body) {  // of rows
    for (int64_t i = 0, first = 0, last; i < blocks; ++i, first = last) {
      last = split_point(product.rows, blocks, i + 1);
      body(first, last - first);
    }
  };
  for (int64_t p = 0; pack_a && p < product.count; p += kPackedTerms<T>) {
    const int64_t packed_terms = std::min(kPackedTerms<T>, product.count - p);
    for_each_block([&](int64_t first, int64_t rows) {
      panels->shape->pack_a[rows](product.a + p * product.a_step + first, product.a_step,
                                  packed_terms, a_.get() + first * terms + p * rows);
    });
  }
  Upcoming<T> next_a{product.next_a, product.rows, product.a_step};
  int64_t b_width = 0;  // that b_rows_ is for
  int64_t dense = 0;    // where a tile's dense sums are
  for (const OuterPanel<T>* panel = panels; panel < panels + count; ++panel) {
    const TileShape<T>& shape = *panel->shape;
    const T* const* b = product.b;
    if (pack_b) {
      T* packed = b_.get();
      shape.pack_b(b, panel->offset, panel->filled, product.count, packed);
      for (int64_t p = 0; shape.width != b_width && p < step_count; ++p)
        b_rows_[p] = packed + p * shape.width * kStep<T>;
      b_width = shape.width;
      b = b_rows_.get();
    }
    const bool last = panel + 1 == panels + count;
    Upcoming<T> next_b{last ? product.next_b : product.b[0] + panel[1].offset,
                       last ? panels->filled : panel[1].filled, product.b_step};
    for_each_block([&](int64_t first, int64_t rows) {
      const auto sums = [&](const OuterSums<T>& s) {
        return s.stride == 0 ? s.data + dense : s.data + first * s.stride + panel->column;
      };
      const auto stride = [&](const OuterSums<T>& s) {
        return s.stride == 0 ? shape.width : s.stride;
      };
      shape.outer[rows]({pack_a ? a_.get() + first * terms : product.a + first,
                         pack_a ? rows * kStep<T> : product.a_step, b, pack_b ? 0 : panel->offset,
                         step_count, product.addend.data ? sums(product.addend) : nullptr,
                         stride(product.addend), sums(product.c), stride(product.c), panel->filled,
                         (next_b.columns > 0 ? next_b : next_a).line()});
      dense += rows * shape.width;
    });
  }
}

template class OuterProducts<float>;
template class OuterProducts<double>;
template class OuterProducts<BFloat16>;

}  // namespace striate::cpu
