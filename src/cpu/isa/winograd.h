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

/// Patches of pixels, one or kStep<P>, and where their points go: v[point][group][lane][patch], for
/// `groups` vectors of channels from the channel `first` on. The patches that follow lie `ahead`
/// behind these; they are asked for meanwhile.
template <class T, class P>
struct WinogradPatches {
  const T* const* pixels;  // patch by patch
  int64_t first, ahead, groups;
  P* v;
  int64_t group_step, plane;
};

/// What becomes of a tile of height x width outputs, on vectors of channels.
template <class T, class P>
struct WinogradTileTransforms {
  /// B' d B of one patch of (height + r - 1) x (width + r - 1) pixels, to be summed over channels.
  void (*input)(const WinogradPatches<T, P>& args);
  /// Epilogue of A' m A.
  void (*output)(const WinogradOutput<T>& args);
  /// B' d B of kStep<P> patches, and A d A' of as many of height x width gradient pixels, to be
  /// summed over tiles.
  void (*inputs)(const WinogradPatches<T, P>& args);
  void (*grad_outputs)(const WinogradPatches<T, P>& args);
};

/// F(m x m, r x r) and the smaller tiles at an image's edges, which have fewer of its (m + r - 1)^2
/// points: along an axis, a tile of e outputs has the first e + r - 2 and the last. Points lie
/// `plane` elements apart; n is a multiple of the lanes. T is what images hold, P what products
/// take; sums are of type Compute<T>.
template <class T, class P>
struct WinogradTransforms {
  /// [height - 1][width - 1]
  WinogradTileTransforms<T, P> tiles[kMaxWinogradTile][kMaxWinogradTile];
  const WinogradTileTransforms<T, P>& of(int64_t height, int64_t width) const {
    return tiles[height - 1][width - 1];
  }
  /// u[point][i][channel] = G g G' for the kStep<P> channels of a step, where tap (y, x) of filter
  /// i is g[channel * step + (ry + x) * n + i]; whole registers, aligned to their size.
  void (*filter)(const Compute<T>* g, int64_t step, int64_t n, P* u, int64_t plane);
  /// g[tap * step + i] = G' u G, for i < n.
  void (*grad_filter)(const Compute<T>* u, int64_t n, int64_t plane, Compute<T>* g, int64_t step);
};

/// Null: those that P does not have.
template <class T, class P>
struct WinogradKernels {
  int lanes;  // channels a vector
  WinogradTransforms<T, P> f2x3, f3x3, f4x3, f2x5;

  /// F(m x m, r x r).
  const WinogradTransforms<T, P>& transforms(int64_t m, int64_t r) const {
    return r == 5 ? f2x5 : m == 2 ? f2x3 : m == 3 ? f3x3 : f4x3;
  }
};

}  // namespace striate::cpu
