// Winograd forward and input gradient, fused by block of tiles: transform the input of a block,
// multiply at each point with a panel of filters, transform back with the bias. What lies between
// stays in the L2 cache; the image is read in place, pixels outside it through a row of zeros.
#include "cpu/winograd.h"

#include <algorithm>
#include <vector>

#include "cpu/conv2d_pass.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

constexpr int kMaxPixels = kMaxWinogradEdge * kMaxWinogradEdge, kMaxTaps = 25;

/// How many tiles share one pass over the weight, and where their scratch lies.
template <class T, class P>
struct BlockLayout {
  int64_t tiles, groups, lanes;
  int64_t plane;  // elements between points in V; an odd number of vectors, so that the points
                  // of one tile do not compete for one cache set
  int64_t v_size, m_size;

  explicit BlockLayout(const WinogradGeometry& g) {
    lanes = isa().winograd<T, P>().lanes;
    groups = g.channels / lanes;
    tiles = ceil_div(g.tiles(), std::max<int64_t>(1, ceil_div(g.tiles(), kTiles)));
    plane = (groups * tiles | 1) * lanes;
    v_size = ceil_div(g.points() * plane, kMaxTileWidth) * kMaxTileWidth;  // whole cache lines
    m_size = g.points() * tiles * kMaxTileWidth;
  }
  static constexpr int64_t kTiles = 2 * kMaxTileRows;
  size_t bytes() const { return v_size * sizeof(P) + m_size * sizeof(Compute<T>); }
};

template <class T, class P>
struct Run {
  using C = Compute<T>;

  const WinogradGeometry& g;
  const T* x;
  const P* packed;
  Epilogue<T> epilogue;
  T* y;
  const T* zeros;  // [channels]
  BlockLayout<T, P> layout;
  const WinogradTransforms<T, P>& transforms;

  void load_tile(const WinogradTile& tile, P* v) const {
    const T* pixels[kMaxPixels];
    tile_pixels(x, {g.h, g.w, g.channels}, g.under(tile), zeros, pixels);
    transforms.of(tile.height, tile.width)
        .input({pixels, 0, g.m * g.channels, layout.groups, v, layout.tiles * layout.lanes,
                layout.plane});
  }

  void store_tile(const WinogradTile& tile, const C* m, const Panel& panel) const {
    Epilogue<T> of_panel = epilogue;
    if (epilogue.bias) of_panel.bias += panel.column;
    const int64_t pixel = (tile.image * g.oh + tile.row) * g.ow + tile.column;
    transforms.of(tile.height, tile.width)
        .output({m, layout.tiles * panel.width, panel.width, of_panel,
                 y + pixel * g.filters + panel.column, g.ow * g.filters, g.filters});
  }

  void block(const WinogradBlock& block, const Panel* panel, int64_t panels, char* scratch) const {
    P* v = reinterpret_cast<P*>(scratch);
    C* m = reinterpret_cast<C*>(v + layout.v_size);
    const int64_t count = std::ssize(block.tiles);
    for (int64_t t = 0; t < count; ++t) load_tile(block.tiles[t], v + t * layout.lanes);
    std::vector<int64_t> taps(layout.groups);
    for (int64_t i = 0; i < layout.groups; ++i) taps[i] = i * layout.tiles * layout.lanes;
    for (const Panel* last = panel + panels; panel < last; ++panel) {
      const TileShape<P>& shape = isa().gemm<P>().shape(g.filters - panel->column);
      const int64_t width = panel->width;
      const P* u = packed + panel->column * g.points() * g.channels;
      for (int64_t point = 0; point < g.points(); ++point, u += g.channels * width) {
        const auto [first, end] = block.with_point(point);
        const int64_t pieces = ceil_div(end - first, shape.rows);
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t begin = first + split_point(end - first, pieces, piece);
          const int64_t rows = first + split_point(end - first, pieces, piece + 1) - begin;
          const P* a = v + point * layout.plane + begin * layout.lanes;
          C* c[kMaxTileRows];
          for (int64_t r = 0; r < rows; ++r) c[r] = m + (point * layout.tiles + begin + r) * width;
          shape.dense_tile[rows](
              {&a,
               c,
               taps.data(),
               layout.groups,
               layout.lanes,
               u,
               {},
               width,
               {u + (g.channels + g.channels * piece / pieces) * width, width / pieces}});
        }
      }
      for (int64_t t = 0; t < count; ++t) store_tile(block.tiles[t], m + t * width, *panel);
    }
  }
};

/// Which of the four kinds of WinogradBlock.
int kind(const WinogradGeometry& g, const WinogradTile& tile) {
  if (tile.height == g.m) return tile.width < g.m ? 0 : 1;
  return tile.width == g.m ? 2 : 3;
}

}  // namespace

WinogradBlock::WinogradBlock(const WinogradGeometry& g, int64_t first, int64_t count, int64_t step)
    : edge(g.edge()), least(g.under(g.tile(g.tiles() - 1))) {
  int64_t of_kind[4] = {};
  for (int64_t i = first; i < first + count; ++i) {
    tiles.push_back(g.tile(i));
    ++of_kind[kind(g, tiles.back())];
  }
  for (int64_t i = 0; i < count; ++i) {
    WinogradTile outside = tiles[i];
    outside.row = -2 * edge;
    for (int64_t& have = of_kind[kind(g, outside)]; have % step != 0; ++have)
      tiles.push_back(outside);
  }
  std::ranges::stable_sort(tiles, {}, [&](const WinogradTile& tile) { return kind(g, tile); });
  const auto before = [&](int end) {
    return std::ranges::partition_point(
               tiles, [&](const WinogradTile& tile) { return kind(g, tile) < end; }) -
           tiles.begin();
  };
  narrow = before(1);
  high = before(2);
  wide = before(3);
}

WinogradGeometry winograd_geometry(const Conv2dGeometry& g, ConvPass pass, int64_t m) {
  if (pass == ConvPass::kInputGrad)
    return {g.n, g.oh, g.ow, g.o, g.h, g.w, g.c, g.kh - 1 - g.pad_h, g.kw - 1 - g.pad_w, m, g.kh};
  return {g.n, g.h, g.w, g.c, g.oh, g.ow, g.o, g.pad_h, g.pad_w, m, g.kh};
}

template <class T>
bool winograd_applies(const Conv2dGeometry& g) {
  const int64_t lanes = isa().winograd<T, Compute<T>>().lanes;
  return (g.kh == 3 || g.kh == 5) && g.kw == g.kh && g.stride_h == 1 && g.stride_w == 1 &&
         g.dilation_h == 1 && g.dilation_w == 1 && g.groups == 1 && g.pad_h < g.kh &&
         g.pad_w < g.kw && g.c % lanes == 0 && g.o % lanes == 0;
}

template <class T, class P>
void winograd_pack(const WinogradGeometry& g, const Conv2dPackArgs& args) {
  const bool backward = args.pass == ConvPass::kInputGrad;
  const int64_t* strides = args.weight_strides;
  const int64_t channel_stride = backward ? strides[0] : strides[1];
  const int64_t filter_stride = backward ? strides[1] : strides[0];
  const std::vector<Panel> all = panels<P>(g.filters);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  const WinogradTransforms<T, P>& transforms = isa().winograd<T, P>().transforms(g.m, g.r);
  // Units of one panel and a run of channels.
  const int64_t runs = ceil_div(g.channels, kPackedChannels);
  parallel_for(panel_count * runs, 8, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const Panel& panel = all[unit / runs];
      const int64_t first = unit % runs * kPackedChannels;
      const int64_t last = std::min(first + kPackedChannels, g.channels);
      P* u = static_cast<P*>(args.packed) + panel.column * g.points() * g.channels;
      Compute<T> taps[kPackedChannels][kMaxTaps * kMaxTileWidth];
      for (int64_t tap = 0; tap < g.taps(); ++tap) {
        const int64_t kernel = backward ? g.taps() - 1 - tap : tap;  // rotated by 180 degrees
        const T* weight = static_cast<const T*>(args.weight) + kernel / g.r * strides[2] +
                          kernel % g.r * strides[3] + first * channel_stride +
                          panel.column * filter_stride;
        copy_block(weight, channel_stride, filter_stride, last - first, panel.width,
                   taps[0] + tap * panel.width, kMaxTaps * kMaxTileWidth);
      }
      for (int64_t channel = first; channel < last; channel += kStep<P>)
        transforms.filter(taps[channel - first], kMaxTaps * kMaxTileWidth, panel.width,
                          u + channel * panel.width, g.channels * panel.width);
    }
  });
}

template <class T, class P>
Conv2dPlan winograd_plan(const WinogradGeometry& g) {
  return {static_cast<int32_t>(g.m), g.points() * g.channels * g.filters * sizeof(P),
          g.channels * sizeof(Compute<T>) + num_threads() * BlockLayout<T, P>(g).bytes()};
}

template <class T, class P>
void winograd(const WinogradGeometry& g, const Conv2dPlan& plan, const T* x, const void* packed,
              const Epilogue<T>& epilogue, T* y, void* workspace) {
  const BlockLayout<T, P> layout(g);
  T* zeros = static_cast<T*>(workspace);
  std::fill_n(zeros, g.channels, T{});
  const size_t zero_bytes = g.channels * sizeof(Compute<T>);
  char* scratch = static_cast<char*>(workspace) + zero_bytes;
  int64_t slots = (plan.workspace - zero_bytes) / layout.bytes();
  Run<T, P> run{g,
                x,
                static_cast<const P*>(packed),
                epilogue,
                y,
                zeros,
                layout,
                isa().winograd<T, P>().transforms(g.m, g.r)};
  run.epilogue.stream &= layout.lanes * sizeof(T) == 64;  // a line at a time
  const std::vector<Panel> all = panels<P>(g.filters);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  const int64_t blocks = ceil_div(g.tiles(), layout.tiles);
  // Units of a block and a panel, so that few blocks are shared out evenly too; a block whose
  // panels two slots share is transformed by both.
  const int64_t units = blocks * panel_count;
  slots = std::min(slots, units);
  parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      const int64_t last = split_point(units, slots, slot + 1);
      for (int64_t unit = split_point(units, slots, slot); unit < last;) {
        const int64_t block = unit / panel_count, panel = unit % panel_count;
        const int64_t count = std::min(panel_count - panel, last - unit);
        const int64_t first = split_point(g.tiles(), blocks, block);
        const int64_t tiles = split_point(g.tiles(), blocks, block + 1) - first;
        run.block(WinogradBlock(g, first, tiles), &all[panel], count,
                  scratch + slot * layout.bytes());
        unit += count;
      }
    }
  });
}

template bool winograd_applies<float>(const Conv2dGeometry&);
template bool winograd_applies<double>(const Conv2dGeometry&);
template bool winograd_applies<BFloat16>(const Conv2dGeometry&);

#define STRIATE_INSTANTIATE(T, P)                                                                 \
  template Conv2dPlan winograd_plan<T, P>(const WinogradGeometry&);                               \
  template void winograd_pack<T, P>(const WinogradGeometry&, const Conv2dPackArgs&);              \
  template void winograd<T, P>(const WinogradGeometry&, const Conv2dPlan&, const T*, const void*, \
                               const Epilogue<T>&, T*, void*);
STRIATE_INSTANTIATE(float, float)
STRIATE_INSTANTIATE(double, double)
STRIATE_INSTANTIATE(BFloat16, float)
STRIATE_INSTANTIATE(BFloat16, BFloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
