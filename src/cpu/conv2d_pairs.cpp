// Forward and input gradient: the products of conv2d_direct.cpp with two channels to a step. An odd
// number of channels gets a zero beside it when the source is copied with its border.
#include "cpu/conv2d_pairs.h"

#include "cpu/conv2d_bfloat16.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

constexpr int64_t kHalf = kPairWidth / 2;  // the narrow panel's width

/// The convolution with an even number of channels to sum over.
Conv2dGeometry evened(Conv2dGeometry g, ConvPass pass) {
  int64_t& channels = pass == ConvPass::kInputGrad ? g.o : g.c;
  if (g.groups == 1) channels += channels % 2;
  return g;
}

Pass even_pass(const Conv2dGeometry& g, ConvPass pass) {
  Pass result = make_pass(evened(g, pass), pass);
  const int64_t given = pass == ConvPass::kInputGrad ? g.o : g.c;
  result.source.copied |= result.source.c != given;
  return result;
}

int64_t taps_of(const Phase& rows, const Phase& columns) {
  return static_cast<int64_t>(rows.taps.size() * columns.taps.size());
}
/// Packed elements of one group and pair of phases.
int64_t packed_size(const Pass& pass, const Phase& rows, const Phase& columns) {
  return taps_of(rows, columns) * pass.channels * (ceil_div(pass.filters, kHalf) * kHalf);
}

std::vector<Panel> pair_panels(int64_t filters) {
  std::vector<Panel> result;
  for (int64_t column = 0; column < filters; column += result.back().width) {
    const int64_t left = filters - column, width = left > kHalf ? kPairWidth : kHalf;
    result.push_back({column, width, std::min(width, left)});
  }
  return result;
}

/// The source with zeros around it and behind the channels of each pixel.
const BFloat16* evened_source(const Source& s, int64_t given, const void* x, void* workspace) {
  const auto* source = static_cast<const BFloat16*>(x);
  auto* copy = static_cast<BFloat16*>(workspace);
  if (given == s.c) return bordered(s, source, copy);
  const int64_t height = s.h + s.rows.before + s.rows.after;
  parallel_for(s.n * height, std::max<int64_t>(1, 65536 / s.row()),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i) {
                   BFloat16* target = copy + i * s.row();
                   std::fill_n(target, s.row(), BFloat16{});
                   const int64_t y = i % height - s.rows.before;
                   if (y < 0 || y >= s.h) continue;
                   target += s.columns.before * s.c;
                   const BFloat16* row = source + ((i / height) * s.h + y) * s.w * given;
                   for (int64_t p = 0; p < s.w; ++p, target += s.c, row += given)
                     std::copy_n(row, given, target);
                 }
               });
  std::fill_n(copy + s.n * s.image(), kMaxTileWidth, BFloat16{});
  return copy;
}

/// One group and pair of phases: result pixels (n, rows, columns) x filters.
struct PairProduct {
  const BFloat16* source;
  BFloat16* result;
  int64_t n, rows, columns;
  int64_t source_image, source_row, source_pixel;
  int64_t result_image, result_row, result_pixel;
  std::vector<int64_t> taps;
  int64_t k, filters;  // k elements to a tap, an even number
  const BFloat16* packed;
  const float* bias;  // null: 0
  int64_t residual;
  bool relu;

  void run() const;
  void run_block(int64_t first_pixel, int64_t pixels, const Panel* panel, int64_t count) const;
};

constexpr int64_t kBlockPixels = 16 * kPairRows;

void PairProduct::run_block(int64_t first_pixel, int64_t pixels, const Panel* panel,
                            int64_t count) const {
  const BFloat16* a[kBlockPixels];
  BFloat16* c[kBlockPixels];
  int64_t x = first_pixel % columns, row = first_pixel / columns;
  for (int64_t p = 0; p < pixels; x = 0, ++row) {
    const BFloat16* from =
        source + row / rows * source_image + row % rows * source_row + x * source_pixel;
    BFloat16* to = result + row / rows * result_image + row % rows * result_row + x * result_pixel;
    for (; x < columns && p < pixels; ++x, ++p, from += source_pixel, to += result_pixel) {
      a[p] = from;
      c[p] = to;
    }
  }
  const PairKernels& kernels = *isa().pairs;
  const int64_t tap_count = static_cast<int64_t>(taps.size());
  for (const Panel* last = panel + count; panel < last; ++panel) {
    float bias_row[kPairWidth] = {};
    if (bias) std::copy_n(bias + panel->column, panel->filled, bias_row);
    const auto& tile = panel->width == kPairWidth ? kernels.wide : kernels.narrow;
    const int64_t tiles = ceil_div(pixels, kPairRows);
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t begin = split_point(pixels, tiles, t);
      const int64_t tile_rows = split_point(pixels, tiles, t + 1) - begin;
      BFloat16* target[kPairRows];
      for (int64_t r = 0; r < tile_rows; ++r) target[r] = c[begin + r] + panel->column;
      tile[tile_rows]({a + begin, target, taps.data(), tap_count, k / 2,
                       packed + panel->column * tap_count * k, bias_row, residual, relu,
                       panel->filled});
    }
  }
}

void PairProduct::run() const {
  const int64_t pixels = n * rows * columns;
  if (pixels == 0) return;
  const int64_t pixel_bytes = std::max<int64_t>(1, source_pixel * sizeof(BFloat16));
  const int64_t blocks =
      ceil_div(pixels, std::clamp<int64_t>(262144 / pixel_bytes, kPairRows, kBlockPixels));
  const std::vector<Panel> all = pair_panels(filters);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  const int64_t parts = blocks < kMinUnits ? panel_count : 1;
  const int64_t macs = pixels * static_cast<int64_t>(taps.size()) * k * filters;
  const int64_t unit_macs = std::max<int64_t>(1, macs / (blocks * parts));
  // Panel-major: a thread's units share panels, so each weight is read by one thread.
  parallel_for(blocks * parts, ceil_div(2 * kGrainMacs, unit_macs),
               [&](int64_t begin, int64_t end) {
                 for (int64_t unit = begin; unit < end; ++unit) {
                   const int64_t block = unit % blocks, part = unit / blocks;
                   const int64_t first = split_point(pixels, blocks, block);
                   run_block(first, split_point(pixels, blocks, block + 1) - first, &all[part],
                             panel_count / parts);
                 }
               });
}

struct Finish {
  const void* bias;
  int64_t residual = 0;
  bool relu = false;
};

void run_pass(const Conv2dGeometry& given, ConvPass kind, const void* x, const void* weight,
              const Finish& finish, void* y, void* workspace) {
  const Pass pass = even_pass(given, kind);
  const Conv2dGeometry g = evened(given, kind);
  const Source& s = pass.source;
  const bool backward = kind == ConvPass::kInputGrad;
  const BFloat16* source = evened_source(s, backward ? given.o : given.c, x, workspace);
  const auto* packed = static_cast<const BFloat16*>(weight);
  auto* result = static_cast<BFloat16*>(y);
  const int64_t result_pixel = backward ? given.c : given.o;
  const int64_t result_row = (backward ? g.w : g.ow) * result_pixel;
  const int64_t result_image = (backward ? g.h : g.oh) * result_row;
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
        const int64_t first = group * pass.filters;
        PairProduct{source + group * pass.channels,
                    result + rows.start * result_row + columns.start * result_pixel + first,
                    g.n,
                    rows.count,
                    columns.count,
                    s.image(),
                    rows.source_step * s.row(),
                    columns.source_step * s.pixel(),
                    result_image,
                    rows.step * result_row,
                    columns.step * result_pixel,
                    taps,
                    k,
                    pass.filters,
                    packed,
                    finish.bias ? static_cast<const float*>(finish.bias) + first : nullptr,
                    finish.residual,
                    finish.relu}
            .run();
        packed += packed_size(pass, rows, columns);
      }
    }
  }
}

}  // namespace

bool pairs_apply(const Conv2dGeometry& g, ConvPass pass) {
  if (isa().pairs == nullptr) return false;
  const int64_t channels = (pass == ConvPass::kInputGrad ? g.o : g.c) / g.groups;
  return g.groups == 1 || pass == ConvPass::kWeightGrad || channels % 2 == 0;
}

Conv2dPlan pairs_plan(const Conv2dGeometry& g, ConvPass kind) {
  const Pass pass = even_pass(g, kind);
  int64_t packed = 0;
  for (const Phase& rows : pass.rows)
    for (const Phase& columns : pass.columns) packed += g.groups * packed_size(pass, rows, columns);
  return {kPairs, packed * sizeof(BFloat16), pass.source.copy_size() * sizeof(BFloat16), "pairs"};
}

/// Panels [tap][pair of channels][width][2], one after another.
void pairs_pack(const Conv2dPackArgs& args) {
  const Pass pass = even_pass(args.g, args.pass);
  const int64_t* strides = args.weight_strides;
  const bool backward = args.pass == ConvPass::kInputGrad;
  const int64_t channel_stride = backward ? strides[0] : strides[1];
  const int64_t filter_stride = backward ? strides[1] : strides[0];
  const int64_t given = (backward ? args.g.o : args.g.c) / args.g.groups;
  const std::vector<Panel> all = pair_panels(pass.filters);
  const int64_t panel_count = static_cast<int64_t>(all.size());
  auto* packed = static_cast<BFloat16*>(args.packed);
  for (const Phase& rows : pass.rows) {
    for (const Phase& columns : pass.columns) {
      const int64_t size = packed_size(pass, rows, columns);
      const int64_t depth = taps_of(rows, columns) * pass.channels;
      parallel_for(
          args.g.groups * panel_count, grain_for(depth * kPairWidth),
          [&](int64_t begin, int64_t end) {
            for (int64_t item = begin; item < end; ++item) {
              const Panel& panel = all[item % panel_count];
              const int64_t group = item / panel_count;
              BFloat16* target = packed + group * size + panel.column * depth;
              const BFloat16* weight = static_cast<const BFloat16*>(args.weight) +
                                       group * (args.g.o / args.g.groups) * strides[0] +
                                       panel.column * filter_stride;
              for (const Tap& row : rows.taps) {
                for (const Tap& column : columns.taps) {
                  const BFloat16* tap =
                      weight + row.kernel * strides[2] + column.kernel * strides[3];
                  for (int64_t i = 0; i < pass.channels; i += 2, target += 2 * panel.width) {
                    const BFloat16* first = tap + i * channel_stride;
                    const bool both = i + 1 < given;
                    for (int64_t j = 0; j < panel.filled; ++j) {
                      target[2 * j] = first[j * filter_stride];
                      target[2 * j + 1] =
                          both ? first[channel_stride + j * filter_stride] : BFloat16{};
                    }
                    std::fill(target + 2 * panel.filled, target + 2 * panel.width, BFloat16{});
                  }
                }
              }
            }
          });
      packed += args.g.groups * size;
    }
  }
}

void pairs_conv2d(const Conv2dArgs& args) {
  const auto* residual = static_cast<const BFloat16*>(args.residual);
  run_pass(args.g, ConvPass::kForward, args.x, args.packed,
           {args.bias, residual ? residual - static_cast<const BFloat16*>(args.y) : 0, args.relu},
           args.y, args.workspace);
}

void pairs_input_grad(const Conv2dInputGradArgs& args) {
  run_pass(args.g, ConvPass::kInputGrad, args.grad_y, args.packed, {args.bias}, args.grad_x,
           args.workspace);
}

}  // namespace striate::cpu
