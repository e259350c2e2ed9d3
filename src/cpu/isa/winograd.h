// The transforms of Winograd convolution; the products between them are the tile of gemm.h.
#pragma once

#include <cstdint>

#include "cpu/isa/gemm.h"

namespace striate::cpu {

/// Largest edges of a tile's inputs, in F(4x4, 3x3) and F(2x2, 5x5), and outputs.
inline constexpr int kMaxWinogradEdge = 6, kMaxWinogradTile = 4;

/// A tile's sums m[point][0..n), of the points that it has, and the output pixels that they become.
template <class T>
struct WinogradOutput {
  const Compute<T>* m;
  int64_t plane, n;
  Epilogue<T> epilogue;
  T* pixel;  // the first
  int64_t row_step, column_step;
};

/// A patch of pixels and where its points go: v[point][group][lane], for `groups` vectors of
/// channels from the channel `first` on. The patch that follows lies `ahead` behind this one; it
/// is asked for meanwhile.
template <class T>
struct WinogradPatch {
  const T* const* pixels;
  int64_t first, ahead, groups;
  Compute<T>* v;
  int64_t group_step, plane;
};

/// What becomes of a tile of height x width outputs, on vectors of channels.
template <class T>
struct WinogradTileTransforms {
  /// B' d B of (height + r - 1) x (width + r - 1) pixels.
  void (*input)(const WinogradPatch<T>& args);
  /// Epilogue of A' m A.
  void (*output)(const WinogradOutput<T>& args);
  /// A d A' of height x width gradient pixels.
  void (*grad_output)(const WinogradPatch<T>& args);
};

/// F(m x m, r x r) and the smaller tiles at an image's edges, which have fewer of its (m + r - 1)^2
/// points: along an axis, a tile of e outputs has the first e + r - 2 and the last. Points lie
/// `plane` elements apart; n is a multiple of the lanes. What lies between the transforms is float
/// if T is bfloat16.
template <class T>
struct WinogradTransforms {
  WinogradTileTransforms<T> tiles[kMaxWinogradTile][kMaxWinogradTile];  // [height - 1][width - 1]
  const WinogradTileTransforms<T>& of(int64_t height, int64_t width) const {
    return tiles[height - 1][width - 1];
  }
  /// u[point][i] = G g G', where tap (y, x) of filter i is g[(ry + x) * n + i]; whole registers,
  /// aligned to their size.
  void (*filter)(const Compute<T>* g, int64_t n, Compute<T>* u, int64_t plane);
  /// g[tap * step + i] = G' u G, for i < n.
  void (*grad_filter)(const Compute<T>* u, int64_t n, int64_t plane, T* g, int64_t step);
};

template <class T>
struct WinogradKernels {
  int lanes;  // channels a vector
  WinogradTransforms<T> f2x3, f4x3, f2x5;

  /// F(m x m, r x r).
  const WinogradTransforms<T>& transforms(int64_t m, int64_t r) const {
    return r == 5 ? f2x5 : m == 2 ? f2x3 : f4x3;
  }
};

}  // namespace striate::cpu
