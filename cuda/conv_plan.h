// Which kernel, tile and split run a convolution pass, and the sizes that the kernel is given. All
// of it is a pure function of geometry, type and settings, so that the bits are too.
#pragma once

#include "conv_index.h"
#include "kernels.h"

namespace striate::cuda {

// --- Algorithm ----------------------------------------------------------------------------------

/// kDirect: one thread per result, any type and size. The others multiply tiles.
enum class ConvKernel : int32_t { kDirect, kCudaCores, kTensorCores };

struct TileSize {
  int32_t m, n;
};
inline constexpr TileSize kTiles[] = {{128, 128}, {128, 64}, {64, 64}, {128, 32}};
inline constexpr int32_t kNarrowTile = 3;  // for layers of few filters; no weight gradient has it

/// What Conv2dPlan::algorithm encodes. The reduction is cut into `splits` whose sums are added in
/// their order.
struct ConvAlgorithm {
  ConvKernel kernel;
  int32_t tile;  // index of kTiles
  int32_t splits;
};
constexpr int32_t encode(const ConvAlgorithm& a) {
  return static_cast<int32_t>(a.kernel) | a.tile << 4 | a.splits << 8;
}
constexpr ConvAlgorithm decode_algorithm(int32_t code) {
  return {static_cast<ConvKernel>(code & 15), (code >> 4) & 15, code >> 8};
}

/// The fastest by a model of an H100 with committed constants.
ConvAlgorithm choose_algorithm(const Conv2dGeometry& g, DType dtype, ConvPass pass);
/// Whether a kernel can run the pass: what choose_algorithm() chooses from, and tests all of.
bool algorithm_applies(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                       const ConvAlgorithm& algorithm);

// --- Operands -----------------------------------------------------------------------------------

/// How the channels of an operand's pixel are read: `vectors` of `vector_bytes` per group, the last
/// filled up with zeros.
struct ChannelLayout {
  int64_t channels;                      // per group, as given
  int32_t vectors, vector_bytes, items;  // items of a vector

  constexpr int64_t padded() const { return int64_t{vectors} * items; }
  /// Whether the operand must be copied to be read so.
  constexpr bool pads() const { return padded() != channels; }
};
/// A copy takes 16 bytes where there are as many, and 8 where bfloat16 has up to four channels.
constexpr ChannelLayout channel_layout(int64_t channels, DType dtype) {
  const int32_t item = dtype == DType::kBFloat16 ? 2 : 4;
  const int32_t bytes = item == 2 && channels <= 4 ? 8 : 16;
  return {channels, static_cast<int32_t>(ceil_div(channels, bytes / item)), bytes, bytes / item};
}
/// grad_y in a weight gradient, whose columns 16 bytes always hold.
constexpr ChannelLayout grad_layout(int64_t channels, DType dtype) {
  const int32_t items = dtype == DType::kBFloat16 ? 8 : 4;
  return {channels, static_cast<int32_t>(ceil_div(channels, items)), 16, items};
}

/// Channels per group that a gathering pass sums over, and that it computes.
constexpr int64_t source_channels(const Conv2dGeometry& g, ConvPass pass) {
  return (pass == ConvPass::kInputGrad ? g.o : g.c) / g.groups;
}
constexpr int64_t result_channels(const Conv2dGeometry& g, ConvPass pass) {
  return (pass == ConvPass::kInputGrad ? g.c : g.o) / g.groups;
}

/// Channels of a packed weight's row.
constexpr int64_t packed_channels(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                                  const ConvAlgorithm& algorithm) {
  const int64_t channels = source_channels(g, pass);
  return algorithm.kernel == ConvKernel::kDirect ? channels
                                                 : channel_layout(channels, dtype).padded();
}

template <class Int>
constexpr GatherAxis<Int> vertical_axis(const Conv2dGeometry& g, ConvPass pass) {
  const auto make = pass == ConvPass::kInputGrad ? input_grad_axis<Int> : forward_axis<Int>;
  const int64_t result = pass == ConvPass::kInputGrad ? g.h : g.oh;
  const int64_t source = pass == ConvPass::kInputGrad ? g.oh : g.h;
  return make(static_cast<Int>(result), static_cast<Int>(source), static_cast<Int>(g.kh),
              static_cast<Int>(g.stride_h), static_cast<Int>(g.pad_h),
              static_cast<Int>(g.dilation_h));
}
template <class Int>
constexpr GatherAxis<Int> horizontal_axis(const Conv2dGeometry& g, ConvPass pass) {
  Conv2dGeometry turned = g;
  turned.h = g.w;
  turned.kh = g.kw;
  turned.oh = g.ow;
  turned.stride_h = g.stride_w;
  turned.pad_h = g.pad_w;
  turned.dilation_h = g.dilation_w;
  return vertical_axis<Int>(turned, pass);
}

/// Byte counts of the parts of a workspace, in their order.
struct ConvWorkspace {
  size_t source, grad, partial;  // padded copies; sums of the splits
  constexpr size_t bytes() const { return source + grad + partial; }
};
ConvWorkspace conv_workspace(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                             const ConvAlgorithm& algorithm);
/// The plan that runs `algorithm`.
Conv2dPlan make_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                     const ConvAlgorithm& algorithm);

// --- Tiled kernels ------------------------------------------------------------------------------

/// Forward and input gradient: for every phase and group, a product of (pixels of the phase) x
/// (taps and channels) and (taps and channels) x (filters). Phases are taken to be of equal size;
/// what the shorter ones lack is masked.
struct GatherShape {
  GatherAxis<int32_t> rows, columns;
  int32_t images, groups, filters;  // filters per group
  int32_t vectors;                  // per pixel and group of the source
  FastDivisor by_vectors, by_phase_rows, by_phase_columns;
  FastDivisor by_tiles_m, by_tiles_n, by_splits, by_groups, by_column_phases;

  constexpr int32_t pixels() const {  // of a phase
    return images * static_cast<int32_t>(by_phase_rows.divisor * by_phase_columns.divisor);
  }
};
GatherShape gather_shape(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                         const ConvAlgorithm& algorithm);
int64_t gather_blocks(const GatherShape& shape);

struct GatherBlock {
  int32_t tile_m, tile_n, split, group, row_phase, column_phase;
};
/// Neighbouring blocks read the same pixels.
constexpr GatherBlock gather_block(const GatherShape& s, int32_t block) {
  GatherBlock b{};
  b.tile_n = split_off(block, s.by_tiles_n);
  b.tile_m = split_off(block, s.by_tiles_m);
  b.split = split_off(block, s.by_splits);
  b.group = split_off(block, s.by_groups);
  b.column_phase = split_off(block, s.by_column_phases);
  b.row_phase = block;
  return b;
}

/// Weight gradient: for every group, a product of (filters) x (pixels of y) and (pixels of y) x
/// (taps and channels).
struct WeightGradShape {
  int32_t pixels;
  FastDivisor by_rows, by_columns;  // of y
  int32_t source_rows, source_columns, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int32_t groups, filters, channels;  // per group
  int32_t kernel_columns, taps;
  int32_t vectors, grad_vectors;  // per pixel and group of x and grad_y
  FastDivisor by_vectors, by_tiles_m, by_tiles_n, by_splits;
};
WeightGradShape weight_grad_shape(const Conv2dGeometry& g, DType dtype,
                                  const ConvAlgorithm& algorithm);
int64_t weight_grad_blocks(const WeightGradShape& shape);

struct WeightGradBlock {
  int32_t tile_m, tile_n, split, group;
};
constexpr WeightGradBlock weight_grad_block(const WeightGradShape& s, int32_t block) {
  WeightGradBlock b{};
  b.tile_n = split_off(block, s.by_tiles_n);
  b.tile_m = split_off(block, s.by_tiles_m);
  b.split = split_off(block, s.by_splits);
  b.group = block;
  return b;
}

}  // namespace striate::cuda
