// Winograd convolution F(2x2, 3x3), F(4x4, 3x3) and F(2x2, 5x5): stride 1, no dilation, no groups.
#pragma once

#include "cpu/isa/gemm.h"
#include "cpu/kernels.h"

namespace striate::cpu {

/// Sizes of one pass in the forward's terms; the input gradient is a forward on grad_y.
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

  struct Corner {
    int64_t image, row, column;  // in result pixels
  };
  Corner corner(int64_t tile) const {
    return {tile / tiles_w() / tiles_h(), tile / tiles_w() % tiles_h() * m, tile % tiles_w() * m};
  }
};

/// The pixels of an image [h][w][channels] under a square; those outside it are `zeros`.
struct ImageSize {
  int64_t h, w, channels;
};
struct Square {
  int64_t row, column, edge;
};
template <class T>
void tile_pixels(const T* image, const ImageSize& size, const Square& square, const T* zeros,
                 const T** pixels) {
  for (int64_t i = 0; i < square.edge; ++i) {
    const int64_t row = square.row + i;
    for (int64_t j = 0; j < square.edge; ++j) {
      const int64_t column = square.column + j;
      const bool inside = row >= 0 && row < size.h && column >= 0 && column < size.w;
      *pixels++ = inside ? image + (row * size.w + column) * size.channels : zeros;
    }
  }
}

WinogradGeometry winograd_geometry(const Conv2dGeometry& g, ConvPass pass, int64_t m);

/// Whether transforms take this convolution: 3 x 3 or 5 x 5, stride 1, whole vectors of channels.
template <class T>
bool winograd_applies(const Conv2dGeometry& g);
/// The edge of the output tiles that beat direct convolution by a model of their costs; 0: none do.
/// A function of the shape and the instruction set alone. (conv2d.cpp)
template <class T>
int64_t winograd_edge(const Conv2dGeometry& g, ConvPass pass);
/// The workspace is enough for the threads there are now.
template <class T>
Conv2dPlan winograd_plan(const WinogradGeometry& g);
/// Transforms the weight to [panel][point][channel][width], in float for bfloat16.
template <class T>
void winograd_pack(const WinogradGeometry& g, const Conv2dPackArgs& args);
template <class T>
void winograd(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x, const void* packed,
              const Epilogue<T>& epilogue, T* y, void* workspace);

/// The workspace is enough for the threads there are now.
template <class T>
Conv2dPlan winograd_weight_grad_plan(const WinogradGeometry& g);
template <class T>
void winograd_weight_grad(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x,
                          const T* grad_y, T* grad_weight, void* workspace);

}  // namespace striate::cpu
