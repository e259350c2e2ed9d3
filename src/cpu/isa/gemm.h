// The tile: the one inner loop under every convolution, linear layer and matrix product.
#pragma once

#include <cstdint>

#include "cpu/isa/bfloat16.h"

namespace striate::cpu {

inline constexpr int kMaxTileRows = 14;
inline constexpr int kMaxTileWidth = 32;  // but for the flat shape's
inline constexpr int kMaxFlatWidth = 64;

/// Terms of a sum that are multiplied and added in one step: bfloat16 comes in pairs, into float.
/// Packed operands keep the terms of a step together, [step][row or column][kStep].
template <class T>
inline constexpr int kStep = sizeof(T) == sizeof(BFloat16) ? 2 : 1;

/// What a tile asks the caches for while it computes, because what follows reads it: first +
/// s * step as step s of its sum begins.
template <class T>
struct Ahead {
  const T* first;
  int64_t step;
};

/// What happens to sums before they are stored.
template <class T>
struct Epilogue {
  const Compute<T>* bias = nullptr;  // added by column; null for 0
  int64_t residual = 0;  // distance from a result to another term of it; 0: there is none
  bool relu = false;     // last
  bool stream = false;   // stores past the caches: full rows, aligned to a cache line
};

/// c[r][0..n) = epilogue of the sum over taps t and i < k of a[r][taps[t] + i] * b[t][i][0..n).
template <class T, class Result = T>
struct TileArgs {
  const T* const* a;          // [rows] pixel bases in the source
  Result* const* c;           // [rows] pixel bases in the result
  const int64_t* taps;        // [tap_count] offsets of the contiguous runs that a pixel reads
  int64_t tap_count, k;       // k whole steps
  const T* b;                 // one packed panel, [tap_count][k / kStep][width][kStep]
  Epilogue<Result> epilogue;  // its bias [width]
  int64_t n;                  // columns to store, at most width
  Ahead<T> ahead;
};

/// c[r][0..n) = addend[r][0..n) + sum over p < count of a[p * a_step + r] * b[p][offset + 0..n),
/// where p counts steps and r and n groups of kStep terms.
template <class T>
struct OuterTileArgs {
  const T* a;
  int64_t a_step;
  const T* const* b;  // [count] rows, readable up to the full width
  int64_t offset, count;
  const Compute<T>* addend;  // may be c; null for 0
  int64_t addend_stride;     // between rows
  Compute<T>* c;
  int64_t c_stride;
  int64_t n;       // columns to store
  Ahead<T> ahead;  // at each term
};

/// One register blocking: `width` columns by up to `rows` rows, an entry for each row count.
template <class T>
struct TileShape {
  int width, rows;
  void (*tile[kMaxTileRows + 1])(const TileArgs<T>&);
  /// The same as sums, for rows that lie kLanes<T> elements apart, the first of them a[0].
  void (*dense_tile[kMaxTileRows + 1])(const TileArgs<T, Compute<T>>&);
  void (*outer[kMaxTileRows + 1])(const OuterTileArgs<T>&);
  /// Copies of what `outer` reads, without the gaps: a[p * a_step + 0..rows) to
  /// [steps][rows][kStep] and b[p][offset + 0..filled) to [steps][width][kStep], for terms p <
  /// count; zeros elsewhere.
  void (*pack_a[kMaxTileRows + 1])(const T* a, int64_t a_step, int64_t count, T* packed);
  void (*pack_b)(const T* const* b, int64_t offset, int64_t filled, int64_t count, T* packed);
};

template <class T>
struct GemmKernels {
  TileShape<T> shapes[4];  // from narrow to wide; a flat one, which has only `tile`, last
  int count, flat_count;   // without it and with it

  /// The widest shape that `columns` remaining columns fill up to the narrowest width.
  const TileShape<T>& shape(int64_t columns) const { return widest(columns, count); }
  /// The same with the flat one: for rows that lie anywhere. Fewer rows need no more pointers than
  /// there are registers, and where a large power of two separates them, they fit into one set of
  /// the L1 cache.
  const TileShape<T>& flat_shape(int64_t columns) const { return widest(columns, flat_count); }

  /// The same among the first `of`.
  const TileShape<T>& widest(int64_t columns, int of) const {
    const int64_t step = shapes[0].width;
    const int64_t rounded = (columns + step - 1) / step * step;
    int best = 0;
    while (best + 1 < of && shapes[best + 1].width <= rounded) ++best;
    return shapes[best];
  }
};

}  // namespace striate::cpu
