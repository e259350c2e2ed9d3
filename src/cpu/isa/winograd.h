// The transforms of Winograd convolution; the products between them are the tile of gemm.h.
#pragma once

#include <cstdint>

#include "cpu/isa/gemm.h"

namespace striate::cpu {

/// Largest input tile edge, of F(4x4, 3x3) and F(2x2, 5x5).
inline constexpr int kMaxWinogradEdge = 6;

/// A tile's sums m[point][0..n) and the m^2 output pixels that they become, of which null ones are
/// outside the image.
template <class T>
struct WinogradOutput {
  const Compute<T>* m;
  int64_t plane, n;
  Epilogue<T> epilogue;
  T* const* pixels;
};

/// A square of pixels and where its points go: v[point][group][lane], for `groups` vectors of
/// channels from the channel `first` on. The square that follows lies `ahead` behind this one; it
/// is asked for meanwhile.
template <class T>
struct WinogradSquare {
  const T* const* pixels;
  int64_t first, ahead, groups;
  Compute<T>* v;
  int64_t group_step, plane;
};

/// Transforms of F(m x m, r x r) on vectors of channels: a tile has (m + r - 1)^2 input pixels and
/// as many points. Points lie `plane` elements apart; n is a multiple of the lanes. What lies
/// between the transforms is float if T is bfloat16.
template <class T>
struct WinogradTransforms {
  /// B' d B of (m + r - 1)^2 pixels.
  void (*input)(const WinogradSquare<T>& args);
  /// pixels[i][0..n) = epilogue of A' m A.
  void (*output)(const WinogradOutput<T>& args);
  /// u[point][i] = G g G', where tap (y, x) of filter i is g[(ry + x) * n + i]; whole registers,
  /// aligned to their size.
  void (*filter)(const Compute<T>* g, int64_t n, Compute<T>* u, int64_t plane);
  /// A d A' of m^2 gradient pixels.
  void (*grad_output)(const WinogradSquare<T>& args);
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
