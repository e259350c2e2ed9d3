// The weight gradient by Winograd's transforms, dW = G' [sum over tiles (A dY A') (B' x B)] G: for
// each point, one product of gradients by inputs over the tiles. A unit of work is a range of tiles
// by some filters: a thread transforms its blocks of tiles in the order in which the product reads
// them and keeps the sums to itself, so that all of it stays in its caches. Ranges of tiles are a
// function of the geometry and are added up in their order, so threads do not show.
#include <algorithm>
#include <vector>

#include "cpu/conv2d_pass.h"
#include "cpu/winograd.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

/// How the work is cut, and where a unit's scratch lies: input [point][panel][step][width][kStep],
/// grad [point][panel of filters][step][width][kStep] and sums [panel][point][filter][width], of
/// one panel only if a unit has one block; a step is kStep<P> tiles. Every part transforms all of
/// the input, so there are no more than keep the threads busy.
template <class T, class P>
struct Layout {
  using C = Compute<T>;

  int64_t lanes;
  int64_t splits, parts;            // of the tiles, by the geometry alone; of the filters
  int64_t filters;                  // of the largest part
  int64_t blocks, tiles;            // of a unit, of the largest block in whole steps
  std::vector<Panel> panels;        // of channels
  int64_t input_plane, grad_plane;  // elements between points, see BlockLayout in winograd.cpp
  int64_t sum_plane, panel_sums;    // between points, between panels

  Layout(const WinogradGeometry& g, int64_t threads)
      : lanes(isa().winograd<T, P>().lanes), panels(cpu::panels<P>(g.channels)) {
    const int64_t weight_bytes = g.taps() * g.channels * g.filters * int64_t{sizeof(C)};
    const int64_t most = std::min(g.tiles() / kSplitTiles, kPartialBytes / weight_bytes);
    for (splits = 1; splits < kMinUnits && 2 * splits <= most;) splits *= 2;
    const int64_t most_parts = std::max<int64_t>(1, g.filters / kMaxTileWidth);
    for (parts = 1; parts < most_parts && units() < 4 * threads && units() % threads != 0;) ++parts;
    filters = ceil_div(g.filters / lanes, parts) * lanes;
    const int64_t unit_tiles = ceil_div(g.tiles(), splits);
    blocks = ceil_div(unit_tiles, kBlockTiles);
    tiles =
        ceil_div(WinogradBlock::most(ceil_div(unit_tiles, blocks), kStep<P>), kStep<P>) * kStep<P>;
    const auto odd = [](int64_t elements, int64_t vector) {
      return (elements / vector | 1) * vector;
    };
    input_plane = odd(tiles * g.channels, lanes * kStep<P>);
    grad_plane = odd(tiles * filters, lanes * kStep<P>);
    sum_plane = odd(filters * panels[0].width, lanes);
    panel_sums = g.points() * sum_plane;
  }
  int64_t units() const { return splits * parts; }
  int64_t sums() const { return (blocks > 1 ? std::ssize(panels) : 1) * panel_sums; }
  /// Whether the splits' gradients are added up, or rounded, in the end.
  bool finishes() const { return splits > 1 || sizeof(T) != sizeof(C); }
  /// Bytes of the zeros and of the splits' gradients.
  int64_t shared(const WinogradGeometry& g) const {
    return (std::max(g.channels, g.filters) +
            (finishes() ? splits * g.taps() * g.channels * g.filters : 0)) *
           int64_t{sizeof(C)};
  }
  /// Bytes of one unit's scratch.
  int64_t scratch(const WinogradGeometry& g) const {
    return g.points() * (input_plane + grad_plane) * int64_t{sizeof(P)} +
           sums() * int64_t{sizeof(C)};
  }

  static constexpr int64_t kSplitTiles = 192;  // transforming back should be worth it
  static constexpr int64_t kPartialBytes = 16 << 20;
  static constexpr int64_t kBlockTiles = 64;
};

/// The images under tiles that are transformed next.
template <class T, class P>
struct NextTiles {
  ReadAhead<P> input, grad;

  NextTiles(const WinogradGeometry& g, int64_t first, int64_t count, const T* x, const T* grad_y) {
    const WinogradTile from = g.tile(std::min(first, g.tiles() - 1));
    const WinogradTile to = g.tile(std::min(first + count, g.tiles() - 1));
    const auto rows = [&](const T* image, int64_t h, int64_t row) {
      return ReadAhead<P>{reinterpret_cast<const P*>(image + (from.image * h + from.row) * row),
                          reinterpret_cast<const P*>(image + (to.image * h + to.row) * row)};
    };
    input = rows(x, g.h, g.w * g.channels);
    grad = rows(grad_y, g.oh, g.ow * g.filters);
  }
  Ahead<P> lines(int64_t count) { return (input.done() ? grad : input).lines(count); }
};

/// The gradient is of type C.
template <class T, class P>
struct Run {
  using C = Compute<T>;

  const WinogradGeometry& g;
  const WinogradTransforms<T, P>& transforms;
  const Layout<T, P>& layout;
  const T* x;
  const T* grad_y;
  const T* zeros;

  struct Filters {
    int64_t first, count;
    std::vector<Panel> panels;
  };
  struct Scratch {
    P *input, *grad;
    C* sums;
  };

  /// Filters of a part: whole vectors.
  Filters part(int64_t index) const {
    const int64_t lanes = layout.lanes, vectors = g.filters / lanes;
    const int64_t first = split_point(vectors, layout.parts, index) * lanes;
    const int64_t count = split_point(vectors, layout.parts, index + 1) * lanes - first;
    return {first, count, panels<P>(count)};
  }

  void transform(const WinogradBlock& block, const Filters& filters, const Scratch& to) const {
    constexpr int64_t kTiles = kStep<P>;
    const int64_t lanes = layout.lanes;
    const T* pixels[kTiles * kMaxWinogradEdge * kMaxWinogradEdge];
    for (int64_t t = 0; t < std::ssize(block.tiles); t += kTiles) {
      const WinogradTile *first = &block.tiles[t], *last = first + kTiles;
      const WinogradTileTransforms<T, P>& of_tile = transforms.of(first->height, first->width);
      const T** next = pixels;
      for (const WinogradTile* tile = first; tile < last; ++tile)
        next = tile_pixels(x, {g.h, g.w, g.channels}, g.under(*tile), zeros, next);
      for (const Panel& panel : layout.panels)
        of_tile.inputs({pixels, panel.column, kTiles * g.m * g.channels, panel.width / lanes,
                        to.input + panel.column * layout.tiles + t * panel.width, lanes * kTiles,
                        layout.input_plane});
      next = pixels;
      for (const WinogradTile* tile = first; tile < last; ++tile)
        next = tile_pixels(grad_y, {g.oh, g.ow, g.filters}, *tile, zeros, next);
      for (const Panel& panel : filters.panels)
        of_tile.grad_outputs({pixels, filters.first + panel.column, kTiles * g.m * g.filters,
                              panel.width / lanes,
                              to.grad + panel.column * layout.tiles + t * panel.width,
                              lanes * kTiles, layout.grad_plane});
    }
  }

  /// Adds the products of a block's tiles to the sums of one panel, or begins them.
  void multiply(const Panel& panel, const WinogradBlock& block, const Filters& filters,
                const Scratch& from, C* sums, bool accumulate, NextTiles<T, P>& next_tiles) const {
    const TileShape<P>& shape = isa().gemm<P>().shape(g.channels - panel.column);
    const P* input = from.input + panel.column * layout.tiles;
    std::vector<const P*> b(block.tiles.size() / kStep<P>);
    for (size_t step = 0; step < b.size(); ++step) b[step] = input + step * panel.width * kStep<P>;
    for (int64_t point = 0; point < g.points(); ++point) {
      const auto [begin, end] = block.with_point(point);
      const int64_t steps = (end - begin) / kStep<P>;
      for (const Panel& rows : filters.panels) {
        const P* grad =
            from.grad + point * layout.grad_plane + rows.column * layout.tiles + begin * rows.width;
        C* c = sums + point * layout.sum_plane + rows.column * panel.width;
        const int64_t pieces = ceil_div(rows.width, int64_t{shape.rows});
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t first = split_point(rows.width, pieces, piece);
          const int64_t count_rows = split_point(rows.width, pieces, piece + 1) - first;
          C* tile = c + first * panel.width;
          shape.outer[count_rows]({grad + first * kStep<P>, rows.width * kStep<P>,
                                   b.data() + begin / kStep<P>, point * layout.input_plane, steps,
                                   accumulate ? tile : nullptr, panel.width, tile, panel.width,
                                   panel.width, next_tiles.lines(end - begin)});
        }
      }
    }
  }

  /// The gradient of a part's filters from the tiles of one split.
  void unit(int64_t split, const Filters& filters, const Scratch& scratch, C* grad_weight) const {
    const int64_t begin = split_point(g.tiles(), layout.splits, split);
    const int64_t tiles = split_point(g.tiles(), layout.splits, split + 1) - begin;
    C* result = grad_weight + filters.first * g.taps() * g.channels;
    for (int64_t block = 0; block < layout.blocks; ++block) {
      const int64_t first = split_point(tiles, layout.blocks, block);
      const int64_t count = split_point(tiles, layout.blocks, block + 1) - first;
      const WinogradBlock tiles_of_block(g, begin + first, count, kStep<P>);
      transform(tiles_of_block, filters, scratch);
      C* sums = scratch.sums;
      NextTiles<T, P> next_tiles(g, begin + first + count, count, x, grad_y);
      for (const Panel& panel : layout.panels) {
        multiply(panel, tiles_of_block, filters, scratch, sums, block > 0, next_tiles);
        if (block + 1 == layout.blocks) {
          for (int64_t f = 0; f < filters.count; ++f)
            transforms.grad_filter(sums + f * panel.width, panel.width, layout.sum_plane,
                                   result + f * g.taps() * g.channels + panel.column, g.channels);
        }
        if (layout.blocks > 1) sums += layout.panel_sums;
      }
    }
  }
};

}  // namespace

template <class T, class P>
Conv2dPlan winograd_weight_grad_plan(const WinogradGeometry& g) {
  const Layout<T, P> layout(g, num_threads());
  const int64_t slots = std::min<int64_t>(num_threads(), layout.units());
  return {.algorithm = static_cast<int32_t>(g.m),
          .packed = 0,
          .workspace = static_cast<size_t>(layout.shared(g) + slots * layout.scratch(g)),
          .threads = num_threads()};
}

template <class T, class P>
void winograd_weight_grad(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x,
                          const T* grad_y, T* grad_weight, void* workspace) {
  using C = Compute<T>;
  const Layout<T, P> layout(g, plan.threads);
  T* zeros = static_cast<T*>(workspace);
  char* scratch = static_cast<char*>(workspace) + layout.shared(g);
  const int64_t size = g.taps() * g.channels * g.filters;
  auto* partial =
      static_cast<C*>(layout.finishes() ? reinterpret_cast<C*>(scratch) - layout.splits * size
                                        : static_cast<void*>(grad_weight));
  std::fill_n(zeros, std::max(g.channels, g.filters), T{});
  const int64_t units = layout.units(), slots = std::min<int64_t>(plan.threads, units);
  const Run<T, P> run{g, isa().winograd<T, P>().transforms(g.m, g.r), layout, x, grad_y, zeros};
  const int64_t macs = g.tile_points() * g.channels * g.filters;
  parallel_for(slots, ceil_div(kGrainMacs, macs / slots), [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      P* input = reinterpret_cast<P*>(scratch + slot * layout.scratch(g));
      P* grad = input + g.points() * layout.input_plane;
      C* sums = reinterpret_cast<C*>(grad + g.points() * layout.grad_plane);
      for (int64_t unit = split_point(units, slots, slot);
           unit < split_point(units, slots, slot + 1); ++unit) {
        const int64_t split = unit / layout.parts;
        run.unit(split, run.part(unit % layout.parts), {input, grad, sums}, partial + split * size);
      }
    }
  });
  if (!layout.finishes()) return;
  const auto accumulate = isa().rows<C>().element.accumulate;
  parallel_for(g.filters, grain_for(g.taps() * g.channels * layout.splits),
               [&](int64_t begin, int64_t end) {
                 const int64_t first = begin * g.taps() * g.channels;
                 const int64_t count = (end - begin) * g.taps() * g.channels;
                 for (int64_t split = 1; split < layout.splits; ++split)
                   accumulate(count, partial + split * size + first, partial + first);
                 store_sums(count, partial + first, grad_weight + first);
               });
}

#define STRIATE_INSTANTIATE(T, P)                                                                \
  template Conv2dPlan winograd_weight_grad_plan<T, P>(const WinogradGeometry&);                  \
  template void winograd_weight_grad<T, P>(const WinogradGeometry&, const Conv2dPlan&, const T*, \
                                           const T*, T*, void*);
STRIATE_INSTANTIATE(float, float)
STRIATE_INSTANTIATE(double, double)
STRIATE_INSTANTIATE(BFloat16, float)
STRIATE_INSTANTIATE(BFloat16, BFloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
