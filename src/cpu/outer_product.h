// Sums of outer products over the tile of isa/gemm.h: what weight gradients are made of.
#pragma once

#include <cstdint>
#include <memory>

#include "cpu/isa.h"

namespace striate::cpu {

/// Results by row and column: data[row * stride + panel.column + j]; of stride 0 densely by tile,
/// for sums that go on, since rows a power of two apart share a few sets of the L1 cache.
template <class T>
struct OuterSums {
  Compute<T>* data = nullptr;
  int64_t stride = 0;
};

/// c = addend + sum over p < count of a[p * a_step + r] * b[p][panel.offset + j], for r < rows and
/// the columns j of each panel.
template <class T>
struct OuterProduct {
  const T* a;
  int64_t a_step, rows;
  const T* const* b;
  int64_t b_step;  // between most neighbouring rows of b
  int64_t count;
  const T *next_a, *next_b;  // where the next product's begin, its first panel's
  OuterSums<T> addend, c;    // without data: 0
};

template <class T>
struct OuterPanel {
  int64_t offset, column;
  int64_t filled;  // columns; without packs_b(), the shape's whole width is read
  const TileShape<T>* shape;
};

/// Computes products of up to these sizes, with the memory for it.
template <class T>
class OuterProducts {
 public:
  OuterProducts(int64_t rows, int64_t count);
  void run(const OuterProduct<T>& product, const OuterPanel<T>* panels, int64_t count);

  /// Tiles that `rows` rows take.
  static int64_t row_blocks(int64_t rows);
  /// Whether b is copied: so many rows pay for it, or steps of several terms need it.
  static bool packs_b(int64_t rows) { return kStep<T> > 1 || row_blocks(rows) >= 3; }

 private:
  std::unique_ptr<T[]> a_, b_;
  std::unique_ptr<const T*[]> b_rows_;
};

}  // namespace striate::cpu
