// Convolution with few filters: neighbouring result pixels in the lanes of a vector, which filters
// would leave mostly empty. The source lies in planes, a channel's pixels side by side, so that
// what a tap reads for a vector of pixels is one load from any address.
#pragma once

#include <cstdint>

#include "cpu/isa/gemm.h"

namespace striate::cpu {

inline constexpr int kMaxPlanarFilters = 8;
inline constexpr int kMaxPlanarVectors = 4;
inline constexpr int kMaxPlanarTaps = 8;

/// Neighbouring result pixels of a row, at most a vector's lanes.
template <class T>
struct PixelVector {
  const T* x;  // what a tap of offset 0 reads for the first of them; readable for all lanes
  int64_t y;   // where its results are
  int64_t n;
};

/// y[pixels.y + p * filters + f] = epilogue of the sum over taps t of x[taps[t] + p] *
/// weight[t][f], for pixels p < n.
template <class T>
struct PlanarTileArgs {
  const PixelVector<T>* pixels;  // [PlanarTile::vectors]
  T* y;
  const int64_t* taps;
  int64_t tap_count;
  const T* weight;       // [tap_count][filters]
  Epilogue<T> epilogue;  // does not stream
};

/// sums[t][f][lane] += sum over rows and vectors of a row of x[taps[t] + p] * grad_y[f][p].
template <class T>
struct PlanarGradArgs {
  const T* x;
  const T* grad_y;  // [filters][plane], rows side by side, readable a vector past the last
  int64_t plane;
  int64_t rows, columns;
  int64_t x_row;  // between rows
  const int64_t* taps;
  T* sums;
};

template <class T>
struct PlanarTile {
  int vectors;  // of pixels, that `tile` computes at once
  int taps;     // at most, that `grad` computes at once
  void (*tile)(const PlanarTileArgs<T>&);
  void (*grad[kMaxPlanarTaps + 1])(const PlanarGradArgs<T>&);  // by their number
  /// Planes [filters][plane], in whole vectors, from n pixels [n][filters].
  void (*split)(const T* pixels, int64_t n, T* planes, int64_t plane);
};

template <class T>
struct PlanarKernels {
  int lanes, max_filters;
  PlanarTile<T> tiles[kMaxPlanarFilters + 1];  // by the number of filters
};

}  // namespace striate::cpu
