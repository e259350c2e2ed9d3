// Winograd convolution F(2x2, 3x3), F(4x4, 3x3) and F(2x2, 5x5), and F(3x3, 3x3) of bfloat16:
// stride 1, no dilation, no groups. T is what images hold, P what products take: what T is computed
// in, or pairs of bfloat16.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

/// Part of an image.
struct WinogradTile {
  int64_t image, row, column, height, width;
};

/// Sizes of one pass in the forward's terms; the input gradient is a forward on grad_y. Tiles have
/// m x m outputs but for the last of a row and of a column, which have what is left.
struct WinogradGeometry {
  int64_t n, h, w, channels;  // source
  int64_t oh, ow, filters;    // result
  int64_t pad_h, pad_w;
  int64_t m, r;  // edges of an output tile and of the kernel

  int64_t tiles_h() const { return (oh + m - 1) / m; }
  int64_t tiles_w() const { return (ow + m - 1) / m; }
  int64_t tiles() const { return n * tiles_h() * tiles_w(); }
  int64_t edge() const { return m + r - 1; }  // of an input tile
  int64_t points() const { return edge() * edge(); }
  int64_t taps() const { return r * r; }
  /// Points of all tiles: along an axis a tile has as many as inputs.
  int64_t tile_points() const {
    return n * (oh + tiles_h() * (r - 1)) * (ow + tiles_w() * (r - 1));
  }

  /// The outputs of a tile.
  WinogradTile tile(int64_t index) const {
    const int64_t row = index / tiles_w() % tiles_h() * m, column = index % tiles_w() * m;
    return {index / tiles_w() / tiles_h(), row, column, std::min(m, oh - row),
            std::min(m, ow - column)};
  }
  /// The inputs that they read.
  WinogradTile under(const WinogradTile& tile) const {
    return {tile.image, tile.row - pad_h, tile.column - pad_w, tile.height + r - 1,
            tile.width + r - 1};
  }
};

/// Tiles that are transformed together, in an order in which those that have a point lie side by
/// side: cut in width alone, whole, cut in height alone, cut in both. Of each kind there are whole
/// steps, if need be with tiles far outside of the image.
struct WinogradBlock {
  std::vector<WinogradTile> tiles;

  WinogradBlock(const WinogradGeometry& g, int64_t first, int64_t count, int64_t step = 1);
  /// The most tiles that a block of `count` comes to.
  static constexpr int64_t most(int64_t count, int64_t step) { return count + 4 * (step - 1); }

  struct Range {
    int64_t begin, end;
  };
  Range with_point(int64_t point) const {
    const bool whole_height = needs_whole(point / edge, least.height);
    const bool whole_width = needs_whole(point % edge, least.width);
    return {whole_width ? narrow : 0, whole_height ? high : whole_width ? wide : std::ssize(tiles)};
  }

 private:
  /// Whether point i of an axis is not among those of a tile with `inputs` along it.
  bool needs_whole(int64_t i, int64_t inputs) const { return i >= inputs - 1 && i < edge - 1; }

  int64_t edge;
  WinogradTile least;          // inputs of a tile that is cut in both
  int64_t narrow, high, wide;  // where the first, the second and the third kind end
};

/// The pixels of images [n][h][w][channels] in a part; those outside are `zeros`. Returns their
/// end.
struct ImageSize {
  int64_t h, w, channels;
};
template <class T>
const T** tile_pixels(const T* images, const ImageSize& size, const WinogradTile& part,
                      const T* zeros, const T** pixels) {
  const T* image = images + part.image * size.h * size.w * size.channels;
  for (int64_t row = part.row; row < part.row + part.height; ++row) {
    for (int64_t column = part.column; column < part.column + part.width; ++column) {
      const bool inside = row >= 0 && row < size.h && column >= 0 && column < size.w;
      *pixels++ = inside ? image + (row * size.w + column) * size.channels : zeros;
    }
  }
  return pixels;
}

WinogradGeometry winograd_geometry(const Conv2dGeometry& g, ConvPass pass, int64_t m);

/// Whether transforms take this convolution: 3 x 3 or 5 x 5, stride 1, whole vectors of channels.
template <class T>
bool winograd_applies(const Conv2dGeometry& g);
/// The workspace is enough for the threads there are now.
template <class T, class P = Compute<T>>
Conv2dPlan winograd_plan(const WinogradGeometry& g);
/// Transforms the weight to [panel][point][channel / kStep][width][kStep], of P.
template <class T, class P = Compute<T>>
void winograd_pack(const WinogradGeometry& g, const Conv2dPackArgs& args);
template <class T, class P = Compute<T>>
void winograd(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x, const void* packed,
              const Epilogue<T>& epilogue, T* y, void* workspace);

/// The workspace is enough for the threads there are now.
template <class T, class P = Compute<T>>
Conv2dPlan winograd_weight_grad_plan(const WinogradGeometry& g);
template <class T, class P = Compute<T>>
void winograd_weight_grad(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x,
                          const T* grad_y, T* grad_weight, void* workspace);

}  // namespace striate::cpu
