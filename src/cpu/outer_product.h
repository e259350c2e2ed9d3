// Sums of outer products over the tile of isa/gemm.h: what weight gradients are made of.
#pragma once

#include <cstdint>
#include <memory>

#include "cpu/isa.h"

namespace striate::cpu {

/// c[r * c_stride + panel.column + j] = or += sum over p < count of
/// a[p * a_step + r] * b[p][panel.offset + j], for r < rows and the columns j of each panel.
template <class T>
struct OuterProduct {
  const T* a;
  int64_t a_step, rows;
  const T* const* b;
  int64_t b_step;  // between most neighbouring rows of b: where those of the next product lie
  int64_t count;
  Compute<T>* c;
  int64_t c_stride;
  bool accumulate;
};

template <class T>
struct OuterPanel {
  int64_t offset, column;
  int64_t filled;  // columns; without packs_b(), the shape's whole width is read
  const TileShape<T>* shape;
};

/// Memory of outer_product(), for products of up to these sizes.
template <class T>
class OuterScratch {
 public:
  OuterScratch(int64_t rows, int64_t count);

 private:
  template <class U>
  friend void outer_product(const OuterProduct<U>&, const OuterPanel<U>*, int64_t,
                            OuterScratch<U>&);
  std::unique_ptr<T[]> a_, b_;
  std::unique_ptr<const T*[]> b_rows_;
};

/// Tiles that `rows` rows take.
template <class T>
int64_t row_blocks(int64_t rows);
/// Whether b is copied: so many rows pay for it, or steps of several terms need it.
template <class T>
bool packs_b(int64_t rows) {
  return kStep<T> > 1 || row_blocks<T>(rows) >= 3;
}

template <class T>
void outer_product(const OuterProduct<T>& product, const OuterPanel<T>* panels, int64_t count,
                   OuterScratch<T>& scratch);

}  // namespace striate::cpu
