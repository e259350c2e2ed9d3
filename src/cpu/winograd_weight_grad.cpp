// The weight gradient by Winograd's transforms, dW = G' [sum over tiles (A dY A') (B' x B)] G: for
// each point, one product of gradients by inputs over the tiles. Blocks of tiles are transformed,
// then multiplied into sums that the last step transforms back. Every sum runs over the tiles in
// their order, so threads do not show.
#include <algorithm>
#include <vector>

#include "cpu/conv2d_pass.h"
#include "cpu/outer_product.h"
#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

/// Tiles of a block, and where its scratch lies. The more tiles, the fewer passes over the sums;
/// what a block holds should stay in the caches.
template <class T>
struct Layout {
  int64_t tiles, blocks;
  int64_t input_plane, grad_plane;  // elements between points, see BlockLayout in winograd.cpp
  int64_t zeros, input, grad, sums;

  explicit Layout(const WinogradGeometry& g) {
    const int64_t lanes = isa().winograd<T>().lanes;
    const int64_t tile_bytes = g.points() * (g.channels + g.filters) * int64_t{sizeof(T)};
    const int64_t target = std::clamp(kBlockBytes / tile_bytes, kLeastTiles, kMostTiles);
    blocks = std::max<int64_t>(1, ceil_div(g.tiles(), target));
    tiles = ceil_div(g.tiles(), blocks);
    input_plane = (tiles * g.channels / lanes | 1) * lanes;
    grad_plane = (tiles * g.filters / lanes | 1) * lanes;
    zeros = std::max(g.channels, g.filters);
    input = g.points() * input_plane;
    grad = g.points() * grad_plane;
    sums = g.points() * g.filters * g.channels;
  }
  size_t bytes() const { return (zeros + input + grad + sums) * sizeof(T); }

  static constexpr int64_t kBlockBytes = 4 << 20, kLeastTiles = 96, kMostTiles = 256;
};

template <class T>
struct Run {
  const WinogradGeometry& g;
  const WinogradTransforms<T>& transforms;
  const Layout<T> layout;
  const T* x;
  const T* grad_y;
  T* zeros;
  T* input;
  T* grad;
  T* sums;

  void transform(int64_t first, int64_t count) const {
    const int64_t lanes = isa().winograd<T>().lanes;
    const int64_t values = g.points() * (g.channels + g.filters);
    parallel_for(count, ceil_div(16384, values), [&](int64_t begin, int64_t end) {
      const T* pixels[kMaxWinogradEdge * kMaxWinogradEdge];
      for (int64_t t = begin; t < end; ++t) {
        const WinogradGeometry::Corner c = g.corner(first + t);
        tile_pixels(x + c.image * g.h * g.w * g.channels, {g.h, g.w, g.channels},
                    {c.row - g.pad_h, c.column - g.pad_w, g.m + 2}, zeros, pixels);
        transforms.input(pixels, g.channels / lanes, input + t * g.channels, lanes,
                         layout.input_plane);
        tile_pixels(grad_y + c.image * g.oh * g.ow * g.filters, {g.oh, g.ow, g.filters},
                    {c.row, c.column, g.m}, zeros, pixels);
        transforms.grad_output(pixels, g.filters / lanes, grad + t * g.filters, lanes,
                               layout.grad_plane);
      }
    });
  }

  void multiply(int64_t count, bool accumulate) const {
    const GemmKernels<T>& gemm = isa().gemm<T>();
    std::vector<OuterPanel<T>> panels_of_point;
    for (const Panel& panel : panels<T>(g.channels))
      panels_of_point.push_back(
          {panel.column, panel.column, panel.filled, &gemm.shape(g.channels - panel.column)});
    const int64_t macs = count * g.filters * g.channels;
    parallel_for(g.points(), ceil_div(kGrainMacs, macs), [&](int64_t begin, int64_t end) {
      OuterScratch<T> scratch(g.filters, count);
      std::vector<const T*> rows(count);
      for (int64_t point = begin; point < end; ++point) {
        for (int64_t t = 0; t < count; ++t)
          rows[t] = input + point * layout.input_plane + t * g.channels;
        outer_product<T>(
            {grad + point * layout.grad_plane, g.filters, g.filters, rows.data(), g.channels, count,
             sums + point * g.filters * g.channels, g.channels, accumulate},
            panels_of_point.data(), static_cast<int64_t>(panels_of_point.size()), scratch);
      }
    });
  }

  void finish(T* grad_weight) const {
    const int64_t plane = g.filters * g.channels;
    parallel_for(g.filters, ceil_div(16384, g.points() * g.channels),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t filter = begin; filter < end; ++filter)
                     transforms.grad_filter(sums + filter * g.channels, g.channels, plane,
                                            grad_weight + filter * 9 * g.channels, g.channels);
                 });
  }
};

}  // namespace

template <class T>
Conv2dPlan winograd_weight_grad_plan(const WinogradGeometry& g) {
  return {static_cast<int32_t>(g.m), 0, Layout<T>(g).bytes()};
}

template <class T>
void winograd_weight_grad(const WinogradGeometry& g, const T* x, const T* grad_y, T* grad_weight,
                          void* workspace) {
  const WinogradKernels<T>& kernels = isa().winograd<T>();
  const Layout<T> layout(g);
  T* zeros = static_cast<T*>(workspace);
  std::fill_n(zeros, layout.zeros, T(0));
  T* input = zeros + layout.zeros;
  T* grad = input + layout.input;
  const Run<T> run{g,
                   g.m == 2 ? kernels.f2 : kernels.f4,
                   layout,
                   x,
                   grad_y,
                   zeros,
                   input,
                   grad,
                   grad + layout.grad};
  for (int64_t block = 0; block < layout.blocks; ++block) {
    const int64_t first = split_point(g.tiles(), layout.blocks, block);
    const int64_t count = split_point(g.tiles(), layout.blocks, block + 1) - first;
    run.transform(first, count);
    run.multiply(count, block > 0);
  }
  run.finish(grad_weight);
}

#define STRIATE_INSTANTIATE(T)                                               \
  template Conv2dPlan winograd_weight_grad_plan<T>(const WinogradGeometry&); \
  template void winograd_weight_grad<T>(const WinogradGeometry&, const T*, const T*, T*, void*);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
