// The tile, templated on the element and on a set of vector operations: what gemm.cpp compiles for
// each instruction set, and avx512_bf16/gemm.cpp for pairs of bfloat16. The accumulators
// acc[rows][vectors] stay in registers only if both loops over them are fully unrolled, hence the
// pragmas. Rows never share arithmetic, so a result does not depend on which rows it is computed
// with.
//
// V has kLanes sums to a register Reg, which it loads from and stores to sums and results (stream:
// past the caches); an Operand for the columns of one step and a Factor for a row of it, which
// multiply_add takes; and pack_a and pack_b of TileShape.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// What follows the sums of a row whose last columns do not count; `term` is added, null: nothing.
template <class C, int kWidth>
__attribute__((noinline)) void finish_part(Compute<C>* sums, const C* term, bool relu, int64_t n,
                                           C* c) {
  if (term != nullptr)
    for (int64_t i = 0; i < n; ++i) sums[i] += value_of(term[i]);
  if (relu)
    for (int i = 0; i < kWidth; ++i) sums[i] = sums[i] <= 0 ? 0 : sums[i];
  if constexpr (sizeof(C) == sizeof(BFloat16)) {
    for (int64_t i = 0; i < n; ++i) c[i] = to_bfloat16(sums[i]);
  } else {
    copy_first<kWidth>(sums, n, c);
  }
}

/// row(r)[0..n) = acc[r], after adding addend(r), if anything, and relu, which keeps NaN. Inlined,
/// and a call only where acc was copied, or acc would live in memory all along.
template <class V, class C, int kVectors, int kRows, class Row, class Addend>
inline __attribute__((always_inline)) void finish(typename V::Reg (&acc)[kRows][kVectors], Row row,
                                                  bool adds, Addend addend, bool relu, bool stream,
                                                  int64_t n) {
  constexpr int kWidth = kVectors * V::kLanes;
  if (n < kWidth) {
    Compute<C> sums[kRows][kWidth];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) V::store(sums[r] + v * V::kLanes, acc[r][v]);
    }
    for (int r = 0; r < kRows; ++r)
      finish_part<C, kWidth>(sums[r], adds ? addend(r) : nullptr, relu, n, row(r));
    return;
  }
  if (adds) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[r][v] += V::load(addend(r) + v * V::kLanes);
    }
  }
  if (relu) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[r][v] = acc[r][v] <= 0 ? typename V::Reg{} : acc[r][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      C* target = row(r) + v * V::kLanes;
      stream ? V::stream(target, acc[r][v]) : V::store(target, acc[r][v]);
    }
  }
}

/// Asks for the rows that a tile will read or write at its end, which the sums then hide: results
/// and residuals of large layers come from memory, in pieces too short for the processor to guess.
/// Inlined, or g++ drops the call, which has no effect that it knows of.
template <class C, int kWidth, int kRows, class Row>
inline __attribute__((always_inline)) void prefetch_rows(Row row) {
  constexpr int kBytes = kWidth * sizeof(C), kLine = 64;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int byte = 0; byte < kBytes; byte += kLine)
      __builtin_prefetch(reinterpret_cast<const char*>(row(r)) + byte, 1);
  }
}

/// One step: acc[r] += a(r), terms of row r, times b, the terms of all columns.
template <class V, class T, int kVectors, int kRows, class Terms>
inline __attribute__((always_inline)) void add_step(typename V::Reg (&acc)[kRows][kVectors],
                                                    Terms a, const T* b) {
  typename V::Operand column[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) column[v] = V::operand(b + v * V::kLanes * kStep<T>);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    const typename V::Factor factor = V::factor(a(r));
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) V::multiply_add(acc[r][v], factor, column[v]);
  }
}

// Its pointers are a register too few for 14 rows; dense rows need one.
template <class V, class T, class Result, int kVectors, int kRows, bool kDense>
void tile(const TileArgs<T, Result>& args) {
  const Epilogue<Result>& epilogue = args.epilogue;
  const auto residual = [&](int r) { return args.c[r] + epilogue.residual; };
  if (epilogue.residual != 0) prefetch_rows<Result, kVectors * V::kLanes, kRows>(residual);
  typename V::Reg acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const Compute<T>* bias = epilogue.bias;
    const typename V::Reg start = bias ? V::load(bias + v * V::kLanes) : typename V::Reg{};
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][v] = start;
  }
  const T* a[kRows];
  const T *b = args.b, *ahead = args.ahead.first;
  for (int64_t t = 0; t < args.tap_count; ++t) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) a[r] = args.a[kDense ? 0 : r] + args.taps[t];
    const T* dense = a[0];
    for (int64_t i = 0; i < args.k; i += kStep<T>, dense += kStep<T>,
                 b += kVectors * V::kLanes * kStep<T>, ahead += args.ahead.step) {
      // Into the L2 cache: the first is full. Few filters read little, and lack the registers.
      if constexpr (kVectors > 1) __builtin_prefetch(ahead, 0, 2);
      add_step<V, T>(acc, [&](int r) { return kDense ? dense + r * kLanes<T> : a[r] + i; }, b);
    }
  }
  finish<V, Result>(
      acc, [&](int r) { return args.c[r]; }, epilogue.residual != 0, residual, epilogue.relu,
      epilogue.stream, args.n);
}

template <class V, class T, int kVectors, int kRows>
void outer(const OuterTileArgs<T>& args) {
  const auto row = [&](int r) { return args.c + r * args.c_stride; };
  const auto addend = [&](int r) { return args.addend + r * args.addend_stride; };
  prefetch_rows<Compute<T>, kVectors * V::kLanes, kRows>(row);
  typename V::Reg acc[kRows][kVectors] = {};
  const T *a = args.a, *ahead = args.ahead.first;
  for (int64_t p = 0; p < args.count; ++p, a += args.a_step) {
    for (int term = 0; term < kStep<T>; ++term, ahead += args.ahead.step)
      __builtin_prefetch(ahead, 0, 2);  // into the L2 cache: the first is full
    add_step<V, T>(acc, [&](int r) { return a + r * kStep<T>; }, args.b[p] + args.offset);
  }
  finish<V, Compute<T>>(acc, row, args.addend != nullptr, addend, false, false, args.n);
}

template <class V, class T, int kVectors, int kMaxRows, bool kFlat, int kRows = 1>
constexpr void fill_rows(TileShape<T>& shape) {
  shape.tile[kRows] = tile<V, T, T, kVectors, kRows, false>;
  if constexpr (!kFlat) {
    shape.dense_tile[kRows] = tile<V, T, Compute<T>, kVectors, kRows, true>;
    shape.outer[kRows] = outer<V, T, kVectors, kRows>;
    shape.pack_a[kRows] = V::template pack_a<kRows>;
  }
  if constexpr (kRows < kMaxRows) fill_rows<V, T, kVectors, kMaxRows, kFlat, kRows + 1>(shape);
}

template <class V, class T, int kVectors, int kMaxRows, bool kFlat = false>
constexpr TileShape<T> make_shape() {
  static_assert(kMaxRows <= kMaxTileRows);
  constexpr int kWidth = kVectors * V::kLanes;
  TileShape<T> shape{kWidth, kMaxRows, {}, {}, {}, {}, nullptr};
  if constexpr (!kFlat) shape.pack_b = V::template pack_b<kWidth>;
  fill_rows<V, T, kVectors, kMaxRows, kFlat>(shape);
  return shape;
}

}  // namespace
}  // namespace striate::cpu
