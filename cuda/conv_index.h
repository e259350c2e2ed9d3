// Index arithmetic of the convolution kernels, in plain constexpr functions: a host test runs all
// of it. Sizes and offsets of the tiled kernels are 32-bit, counted in vectors (one copy from
// global to shared memory); conv_plan.cpp sends what does not fit to the direct kernels.
#pragma once

#include "division.h"

namespace striate::cuda {

// --- Taps ---------------------------------------------------------------------------------------

/// One spatial axis of a forward pass or input gradient, both of which gather: result coordinate
/// phase + i * phases reads, at tap t, kernel position kernel + t * kernel_step and source
/// coordinate i * source_step + offset + t * offset_step, where kernel and offset are the phase's.
/// A forward pass has one phase; an input gradient one per remainder by the stride, so that it
/// multiplies no zeros.
template <class Int>
struct GatherAxis {
  Int result, source, kernel, pad, dilation;
  Int phases, source_step, kernel_step, offset_step;
  bool backward;
};
template <class Int>
struct PhaseTaps {
  Int count, kernel, offset;
};

template <class Int>
constexpr GatherAxis<Int> forward_axis(Int result, Int source, Int kernel, Int stride, Int pad,
                                       Int dilation) {
  return {result, source, kernel, pad, dilation, 1, stride, 1, dilation, false};
}
template <class Int>
constexpr GatherAxis<Int> input_grad_axis(Int result, Int source, Int kernel, Int stride, Int pad,
                                          Int dilation) {
  Int a = stride, b = dilation;  // Euclid
  while (b != 0) {
    const Int rest = a % b;
    a = b;
    b = rest;
  }
  return {result, source, kernel, pad, dilation, stride, 1, stride / a, -(dilation / a), true};
}

template <class Int>
constexpr PhaseTaps<Int> phase_taps(const GatherAxis<Int>& axis, Int phase) {
  if (!axis.backward) return {axis.kernel, 0, -axis.pad};
  for (Int k = 0; k < axis.kernel && k < axis.kernel_step; ++k) {
    const Int position = phase + axis.pad - k * axis.dilation;
    if (position % axis.phases == 0) {
      return {(axis.kernel - k + axis.kernel_step - 1) / axis.kernel_step, k,
              position / axis.phases};
    }
  }
  return {0, 0, 0};
}

/// Where one thread is in the reduction over (tap row, tap column, vector of channels), which it
/// walks in steps of a slice.
struct TapCursor {
  int32_t row, column, vector;
};
constexpr TapCursor cursor_at(int32_t position, int32_t columns, const FastDivisor& vectors) {
  const int32_t vector = split_off(position, vectors);
  return {position / columns, position % columns, vector};
}
constexpr void advance(TapCursor& cursor, int32_t by, int32_t columns, const FastDivisor& vectors) {
  int32_t position = cursor.vector + by;
  cursor.vector = split_off(position, vectors);
  cursor.column += position;
  while (cursor.column >= columns) {
    cursor.column -= columns;
    ++cursor.row;
  }
}

/// Coordinates of item m of (images, rows, columns).
struct Pixel {
  int32_t image, row, column;
};
constexpr Pixel pixel_at(int32_t m, const FastDivisor& rows, const FastDivisor& columns) {
  const int32_t column = split_off(m, columns);
  const int32_t row = split_off(m, rows);
  return {m, row, column};
}

/// The `part`-th of `parts` nearly equal pieces of [0, count).
constexpr int32_t split_point(int32_t count, int32_t parts, int32_t part) {
  return static_cast<int32_t>(int64_t{count} * part / parts);
}

// --- Shared memory ------------------------------------------------------------------------------

inline constexpr int kTileThreads = 128;  // four warps, two by two
inline constexpr int kSliceBytes = 128;   // of the reduction, per row of a tile and pipeline stage
inline constexpr int kStages = 3;

// A stage holds both operands of one slice. An operand whose reduction is contiguous lies row by
// row, 128 bytes each; a weight gradient's, whose rows are contiguous, lies pixel by pixel. What a
// warp reads at once (a matrix of eight rows by 16 bytes, or four pixels by eight floats) must
// touch every bank once. So chunks of 16 bytes are permuted within 128 bytes, or, where single
// floats are read, pixels are 32 bytes further apart, which leaves the addresses linear.

/// Byte of `chunk` (of 8) of a row of an operand with contiguous reduction.
constexpr int row_chunk(int row, int chunk) { return row * 128 + ((chunk ^ (row & 7)) << 4); }

/// Bytes from a pixel to the next of an operand with `rows` elements of `item` bytes per pixel.
constexpr int pixel_pitch(int rows, int item) { return item == 2 ? rows * 2 : rows * 4 + 32; }
/// Byte of `chunk` of a pixel.
constexpr int pixel_chunk(int pixel, int chunk, int rows, int item) {
  return pixel * pixel_pitch(rows, item) + ((item == 2 ? chunk ^ (pixel & 7) : chunk) << 4);
}
/// Bytes of one slice of it.
constexpr int pixel_slice(int rows, int item) {
  return kSliceBytes / item * pixel_pitch(rows, item);
}

// --- Fragments ----------------------------------------------------------------------------------

// Which row and which chunk of 16 bytes a lane addresses for ldmatrix_x4, so that its four results
// are the registers of an A fragment (16 rows), or of two B fragments (8 columns each).
struct MatrixLane {
  int row, chunk;
};
/// Contiguous reduction: row of A or column of B, chunk of the reduction's 32 bytes.
constexpr MatrixLane a_lane(int lane) { return {lane & 15, lane >> 4}; }
constexpr MatrixLane b_lane(int lane) { return {(lane & 7) | (lane >> 4) << 3, (lane >> 3) & 1}; }
/// Contiguous rows, transposed while loading: pixel of 16, chunk of 8 rows or columns.
constexpr MatrixLane a_lane_transposed(int lane) {
  return {(lane & 7) | (lane >> 4) << 3, (lane >> 3) & 1};
}
constexpr MatrixLane b_lane_transposed(int lane) { return {lane & 15, lane >> 4}; }

}  // namespace striate::cuda
