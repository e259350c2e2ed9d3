// Direct convolution as implicit matrix products over the tile of isa/gemm.h: forward and input
// gradient.
//
// Every pass reads pixels of a channels-last source. Where a kernel reaches over the edge, the
// source is first copied with a zero border (a few per cent of the time), so that what a result
// pixel reads is its base pointer plus offsets that all pixels share. Forward is one product per
// group. The input gradient of a strided convolution is one product for each phase of the stride,
// each reading only the taps that hit it, so no zero is ever multiplied. Few filters, which would
// leave the vectors mostly empty, are a matter of conv2d_planar.cpp.
#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

/// Packed elements of one group and pair of phases.
template <class T>
int64_t packed_size(const Pass& pass, const Phase& rows, const Phase& columns) {
  const int64_t step = isa().gemm<T>().shapes[0].width;
  return static_cast<int64_t>(rows.taps.size() * columns.taps.size()) * pass.channels *
         ceil_div(pass.filters, step) * step;
}

/// Writes one panel [tap][step][width][kStep] of one group and pair of phases.
template <class T>
void pack_panel(const Conv2dPackArgs& args, const Pass& pass, const Phase& rows,
                const Phase& columns, int64_t group, const Panel& panel, T* packed) {
  const int64_t* strides = args.weight_strides;
  const bool backward = args.pass == ConvPass::kInputGrad;
  // The weight is [o][i]; a pass sums over i forward and over o backward.
  const int64_t channel_stride = backward ? strides[0] : strides[1];
  const int64_t filter_stride = backward ? strides[1] : strides[0];
  const int64_t channels = pass.source.c / args.g.groups, size = pass.channels * panel.width;
  const T* weight = static_cast<const T*>(args.weight) +
                    group * (args.g.o / args.g.groups) * strides[0] + panel.column * filter_stride;
  for (const Tap& row : rows.taps) {
    for (const Tap& column : columns.taps) {
      const T* tap = weight + row.kernel * strides[2] + column.kernel * strides[3];
      if (panel.filled * channels < size) std::fill_n(packed, size, T{});
      for (int64_t i = 0; i < channels; i += kPackedChannels)
        copy_block(tap + i * channel_stride, channel_stride, filter_stride,
                   std::min(kPackedChannels, channels - i), panel.filled, packed + i * panel.width,
                   panel.width);
      packed += size;
    }
  }
}

// --- Products -----------------------------------------------------------------------------------

constexpr int64_t kBlockPixels = 16 * kMaxTileRows;

/// One group and pair of phases: result pixels (n, rows.count, columns.count) x filters.
template <class T>
struct Product {
  const Pass& pass;
  const Phase &vertical, &horizontal;
  const T* source;                   // base of the first pixel
  T* result;                         // likewise
  const std::vector<int64_t>& taps;  // by rows of the kernel
  int64_t k;
  const T* packed;
  Epilogue<T> epilogue;
  int64_t n = pass.source.n, rows = vertical.count, columns = horizontal.count;
  int64_t filters = pass.filters, source_rows = pass.source.h;  // without the border
  // Steps between neighbouring result pixels.
  int64_t source_image = pass.source.image(), source_row = vertical.source_step * pass.source.row();
  int64_t source_pixel = horizontal.source_step * pass.source.pixel();
  int64_t result_image = pass.result_image, result_row = vertical.step * pass.result_row;
  int64_t result_pixel = horizontal.step * pass.result_pixel;

  void run() const;
  /// Result pixels [first_pixel, first_pixel + pixels) of `count` panels.
  void run_block(int64_t first_pixel, int64_t pixels, const Panel* panel, int64_t count) const;

  // Tiles ask for the larger operand, which comes from memory.
  /// The pixels behind those of a tile.
  Ahead<T> source_after(const T* pixel, int64_t pixels) const {
    const int64_t depth = static_cast<int64_t>(taps.size()) * k;
    if (depth == 0 || source_pixel > k) return {pixel, 0};
    return {pixel + taps.back() + pixels * source_pixel, pixels * source_pixel * kStep<T> / depth};
  }
  /// The tile's part of the next panel.
  Ahead<T> packed_after(const Panel& panel, int64_t tile, int64_t tiles) const {
    const int64_t depth = static_cast<int64_t>(taps.size()) * k;
    const int64_t column = panel.column + panel.width;
    return {packed + (column + panel.width * tile / tiles) * depth, panel.width * kStep<T> / tiles};
  }

  /// Rows [first, last) of the kernel that reach the source from result rows [top, bottom]; the
  /// others would multiply border zeros only.
  std::pair<int64_t, int64_t> kernel_rows(int64_t top, int64_t bottom) const {
    int64_t first = 0, last = static_cast<int64_t>(vertical.taps.size());
    const int64_t step = vertical.source_step;
    while (first < last && bottom * step + vertical.taps[first].offset < 0) ++first;
    while (first < last && top * step + vertical.taps[last - 1].offset >= source_rows) --last;
    return {first, last};
  }
  /// Whether some result row has taps above or below the source.
  bool reaches_over() const {
    const std::vector<Tap>& t = vertical.taps;
    return !t.empty() && (t.front().offset < 0 ||
                          (rows - 1) * vertical.source_step + t.back().offset >= source_rows);
  }
};

template <class T>
void Product<T>::run_block(int64_t first_pixel, int64_t pixels, const Panel* panel,
                           int64_t count) const {
  const T* a[kBlockPixels];
  T* c[kBlockPixels];
  int64_t row_of[kBlockPixels];  // over all images
  int64_t x = first_pixel % columns, row = first_pixel / columns;
  for (int64_t p = 0; p < pixels; x = 0, ++row) {
    const int64_t image = row / rows, y = row % rows;
    const T* from = source + image * source_image + y * source_row + x * source_pixel;
    T* to = result + image * result_image + y * result_row + x * result_pixel;
    for (; x < columns && p < pixels; ++x, ++p, from += source_pixel, to += result_pixel) {
      a[p] = from;
      c[p] = to;
      row_of[p] = row;
    }
  }
  const int64_t tap_count = static_cast<int64_t>(taps.size());
  const int64_t kernel_height = static_cast<int64_t>(vertical.taps.size());
  const int64_t row_taps = kernel_height == 0 ? 0 : tap_count / kernel_height;
  const bool cut = reaches_over();
  const bool source_larger = n * source_image > tap_count * k * filters;
  for (const Panel* last = panel + count; panel < last; ++panel) {
    const TileShape<T>& shape = isa().gemm<T>().flat_shape(filters - panel->column);
    Compute<T> bias_row[kMaxFlatWidth] = {};
    Epilogue<T> of_panel = epilogue;
    if (epilogue.bias) {
      std::copy_n(epilogue.bias + panel->column, panel->filled, bias_row);
      of_panel.bias = bias_row;
    }
    const int64_t tiles = ceil_div(pixels, shape.rows);
    for (int64_t t = 0, begin = 0, end; t < tiles; ++t, begin = end) {
      end = split_point(pixels, tiles, t + 1);
      const int64_t tile_rows = end - begin;
      T* shifted[kMaxTileRows];
      T* const* target = c + begin;
      if (panel->column > 0) {
        for (int64_t r = 0; r < tile_rows; ++r) shifted[r] = target[r] + panel->column;
        target = shifted;
      }
      const Ahead<T> next =
          source_larger ? source_after(a[begin], tile_rows) : packed_after(*panel, t, tiles);
      const int64_t top = row_of[begin], bottom = row_of[begin + tile_rows - 1];
      const bool one_image = cut && top / rows == bottom / rows;
      const auto [from, to] =
          one_image ? kernel_rows(top % rows, bottom % rows) : std::pair(int64_t{0}, kernel_height);
      const T* b = packed + (panel->column * tap_count + from * row_taps * panel->width) * k;
      shape.tile[tile_rows]({a + begin, target, taps.data() + from * row_taps,
                             (to - from) * row_taps, k, b, of_panel, panel->filled, next});
    }
  }
}

template <class T>
void Product<T>::run() const {
  const int64_t pixels = n * rows * columns;
  if (pixels == 0) return;
  // A block's pixels should stay in part of the L2 cache while the panels go by.
  const int64_t pixel_bytes = std::max<int64_t>(1, source_pixel * sizeof(T));
  const int64_t block_pixels =
      std::clamp<int64_t>(262144 / pixel_bytes, kMaxTileRows, kBlockPixels);
  // Threads get equal numbers of them.
  const int64_t fewest = ceil_div(pixels, block_pixels);
  const int64_t blocks = fewest > kMinUnits ? ceil_div(fewest, kMinUnits) * kMinUnits : fewest;
  const std::vector<Panel> all = panels<T>(filters, true);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  const int64_t parts = std::min(panel_count, ceil_div(kMinUnits, blocks));
  const int64_t macs = pixels * static_cast<int64_t>(taps.size()) * k * filters;
  const int64_t unit_macs = std::max<int64_t>(1, macs / (blocks * parts));
  // The panels of a part are about as wide together as those of another.
  const auto first_panel = [&](int64_t part) {
    const int64_t column = split_point(filters, parts, part);
    return std::find_if(all.begin(), all.end(),
                        [=](const Panel& panel) { return panel.column >= column; });
  };
  // Panel-major: a thread's units share panels, so each weight is read by one thread.
  parallel_for(blocks * parts, ceil_div(kGrainMacs, unit_macs), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t block = unit % blocks, part = unit / blocks;
      const int64_t first = split_point(pixels, blocks, block);
      const auto panel = first_panel(part);
      run_block(first, split_point(pixels, blocks, block + 1) - first, &*panel,
                first_panel(part + 1) - panel);
    }
  });
}

/// Channels of bfloat16 are summed two by two, so each of several groups must have an even number
/// of them.
template <class T>
bool pays(const Conv2dGeometry& g, ConvPass pass) {
  if (pass == ConvPass::kWeightGrad || kStep<T> == 1) return pass != ConvPass::kWeightGrad;
  const int64_t channels = (pass == ConvPass::kInputGrad ? g.o : g.c) / g.groups;
  return isa().multiplies_bfloat16() && (g.groups == 1 || channels % kStep<T> == 0);
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass pass_kind) {
  const Pass pass = make_pass(g, pass_kind, kStep<T>);
  int64_t packed = 0;
  for (const Phase& rows : pass.rows)
    for (const Phase& columns : pass.columns)
      packed += g.groups * packed_size<T>(pass, rows, columns);
  return {0, packed * sizeof(T), pass.source.copy_size() * sizeof(T)};
}

template <class T>
void pack(const Conv2dPackArgs& args) {
  const Pass pass = make_pass(args.g, args.pass, kStep<T>);
  const std::vector<Panel> all = panels<T>(pass.filters, true);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  T* packed = static_cast<T*>(args.packed);
  for (const Phase& rows : pass.rows) {
    for (const Phase& columns : pass.columns) {
      const int64_t size = packed_size<T>(pass, rows, columns);
      const int64_t depth =
          static_cast<int64_t>(rows.taps.size() * columns.taps.size()) * pass.channels;
      const int64_t grain = ceil_div(32768, std::max<int64_t>(1, depth * kMaxTileWidth));
      parallel_for_each(args.g.groups * panel_count, grain, [&](int64_t i) {
        const Panel& panel = all[i % panel_count];
        const int64_t group = i / panel_count;
        T* target = packed + group * size + panel.column * depth;
        pack_panel<T>(args, pass, rows, columns, group, panel, target);
      });
      packed += args.g.groups * size;
    }
  }
}

/// Forward and input gradient differ only in their phases and in which way the weight is packed.
template <class T>
void run(const ConvCall<T>& call) {
  const Conv2dGeometry& g = call.g;
  const Pass pass = make_pass(g, call.pass, kStep<T>);
  const Source& s = pass.source;
  const T* source = bordered(s, call.x, static_cast<T*>(call.workspace));
  const T* packed = static_cast<const T*>(call.packed);
  for (const Phase& rows : pass.rows) {
    for (const Phase& columns : pass.columns) {
      std::vector<int64_t> taps;
      const bool merged = contiguous_taps(columns, g) && !columns.taps.empty();
      for (const Tap& row : rows.taps) {
        for (const Tap& column : columns.taps) {
          taps.push_back((row.offset + s.rows.before) * s.row() +
                         (column.offset + s.columns.before) * s.pixel());
          if (merged) break;
        }
      }
      const int64_t k = pass.channels * (merged ? static_cast<int64_t>(columns.taps.size()) : 1);
      for (int64_t group = 0; group < g.groups; ++group) {
        Epilogue<T> epilogue = call.epilogue;
        if (epilogue.bias) epilogue.bias += group * pass.filters;
        const T* first = source + group * pass.channels;
        T* result = call.y + rows.start * pass.result_row + columns.start * pass.result_pixel +
                    group * pass.filters;
        Product<T>{pass, rows, columns, first, result, taps, k, packed, epilogue}.run();
        packed += packed_size<T>(pass, rows, columns);
      }
    }
  }
}

}  // namespace

template <class T>
ConvAlgorithm<T> direct_algorithm() {
  return {kStep<T> == 1 ? "direct" : "pairs", pays<T>, plan<T>, pack<T>, run<T>, nullptr, true};
}
template ConvAlgorithm<float> direct_algorithm();
template ConvAlgorithm<double> direct_algorithm();
template ConvAlgorithm<BFloat16> direct_algorithm();

}  // namespace striate::cpu
