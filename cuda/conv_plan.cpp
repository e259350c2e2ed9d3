#include "conv_plan.h"

#include <algorithm>
#include <iterator>

#include "striate/runtime.h"

namespace striate::cuda {
namespace {

// --- The model ----------------------------------------------------------------------------------

// An H100's rates in units per second, estimated: no kernel has been timed yet. Only their ratios
// matter.
constexpr double kProcessors = 132;
constexpr double kTensorMacs = 220e12;  // bfloat16 by mma.sync; TF32 has half of it
constexpr double kCudaMacs = 18e12;     // tiles in float32
constexpr double kDirectMacs = 1.5e12;
constexpr double kDoubleMacs = 0.75e12;
constexpr double kDirectStep = 40e-9;  // of one thread's reduction: it waits for the L2 cache
constexpr double kBytes = 2.5e12;
constexpr double kLaunch = 3e-6;
constexpr double kWave = 2e-6;  // filling the pipeline, storing the results

/// By index of kTiles: share of the rate that a tile's operands leave, and blocks per processor.
constexpr double kTileRate[] = {1, 0.8, 0.6, 0.5};
constexpr int kTileBlocks[] = {2, 3, 4, 3};

constexpr int32_t kSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
constexpr int64_t kMinSlices = 4;  // of a split: the pipeline must fill

int64_t item_bytes(DType dtype) { return static_cast<int64_t>(item_size(dtype)); }
int64_t slice_items(DType dtype) { return kSliceBytes / item_bytes(dtype); }

/// A pass as products of m x k and k x n.
struct Product {
  int64_t m, n, k, count;
};
Product product(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  if (pass == ConvPass::kWeightGrad) {
    return {g.o / g.groups, g.kh * g.kw * channel_layout(g.c / g.groups, dtype).padded(),
            g.n * g.oh * g.ow, g.groups};
  }
  const auto rows = vertical_axis<int64_t>(g, pass), columns = horizontal_axis<int64_t>(g, pass);
  const int64_t phases = rows.phases * columns.phases;
  const int64_t taps = ceil_div(g.kh, rows.kernel_step) * ceil_div(g.kw, columns.kernel_step);
  return {g.n * ceil_div(rows.result, rows.phases) * ceil_div(columns.result, columns.phases),
          result_channels(g, pass), taps * channel_layout(source_channels(g, pass), dtype).padded(),
          g.groups * phases};
}

int64_t results(const Conv2dGeometry& g, ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward:
      return g.n * g.oh * g.ow * g.o;
    case ConvPass::kInputGrad:
      return g.n * g.h * g.w * g.c;
    default:
      return g.o * g.kh * g.kw * (g.c / g.groups);
  }
}

double tiled_seconds(const Conv2dGeometry& g, DType dtype, ConvPass pass, const ConvAlgorithm& a) {
  const Product p = product(g, dtype, pass);
  const TileSize tile = kTiles[a.tile];
  const int64_t blocks = p.count * ceil_div(p.m, tile.m) * ceil_div(p.n, tile.n) * a.splits;
  const double slices = static_cast<double>(ceil_div(ceil_div(p.k, slice_items(dtype)), a.splits));
  double rate = a.kernel == ConvKernel::kCudaCores ? kCudaMacs : kTensorMacs;
  if (a.kernel == ConvKernel::kTensorCores && dtype == DType::kFloat32) rate /= 2;
  const double slice = 1.0 * tile.m * tile.n * static_cast<double>(slice_items(dtype)) *
                       kProcessors / (rate * kTileRate[a.tile]);
  const auto rounds = static_cast<double>(ceil_div(blocks, int64_t{132}));
  const double alone = rounds < 2 ? 1.6 : 1;  // nothing to do while a lone block waits
  double time = kLaunch + rounds * slices * slice * alone +
                static_cast<double>(ceil_div(blocks, 132 * kTileBlocks[a.tile])) * kWave;
  const ConvWorkspace workspace = conv_workspace(g, dtype, pass, a);
  if (workspace.source > 0) time += kLaunch;
  if (workspace.grad > 0) time += kLaunch;
  if (workspace.partial > 0) time += kLaunch;
  return time + 2.0 * static_cast<double>(workspace.bytes()) / kBytes;
}

/// Enough threads for a weight gradient's few results.
int32_t direct_splits(const Conv2dGeometry& g, ConvPass pass) {
  if (pass != ConvPass::kWeightGrad) return 1;
  constexpr int64_t kThreads = 132 * 2048, kMinPixels = 64;
  const int64_t most = std::max<int64_t>(1, g.n * g.oh * g.ow / kMinPixels);
  return static_cast<int32_t>(
      std::clamp<int64_t>(kThreads / results(g, pass), 1, std::min<int64_t>(most, 256)));
}

double direct_seconds(const Conv2dGeometry& g, DType dtype, ConvPass pass, int32_t splits) {
  const Product p = product(g, dtype, pass);
  const double macs = static_cast<double>(g.n * g.oh * g.ow) * static_cast<double>(g.o) *
                      static_cast<double>(g.kh * g.kw * (g.c / g.groups));
  const double all = macs / (dtype == DType::kFloat64 ? kDoubleMacs : kDirectMacs);
  const double steps = static_cast<double>(ceil_div(p.k, splits)) + splits / 8.0;
  return kLaunch * (splits > 1 ? 2 : 1) + std::max(all, steps * kDirectStep);
}

// --- Limits -------------------------------------------------------------------------------------

constexpr double kIndexLimit = 2147483648.0 - 65536;  // 2^31, less what a last tile adds

/// Whether all that the tiled kernels count stays within 32 bits; borders included, because a
/// coordinate is computed before it is found to be outside.
bool fits(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  for (const int64_t size : {g.h, g.w, g.oh, g.ow, g.kh, g.kw, g.stride_h, g.stride_w, g.pad_h,
                             g.pad_w, g.dilation_h, g.dilation_w}) {
    if (size >= 1 << 30) return false;
  }
  const Product p = product(g, dtype, pass);
  const auto count = [](auto... factors) { return (1.0 * ... * static_cast<double>(factors)); };
  const ChannelLayout x = channel_layout(g.c / g.groups, dtype);
  const ChannelLayout y = channel_layout(g.o / g.groups, dtype);
  const double height = count(g.h) + count(2, g.pad_h) + count(g.kh, g.dilation_h) + 2;
  const double width = count(g.w) + count(2, g.pad_w) + count(g.kw, g.dilation_w) + 2;
  const double pixels = count(g.n, height, width);
  const double blocks = count(p.count, ceil_div(p.m, 64), ceil_div(p.n, 64), std::end(kSplits)[-1]);
  return pixels * count(g.groups, std::max(x.vectors, y.vectors)) < kIndexLimit &&
         count(g.o, g.kh, g.kw, x.vectors) < kIndexLimit &&
         count(g.c, g.kh, g.kw, y.vectors) < kIndexLimit && count(p.m) < kIndexLimit &&
         count(p.n) < kIndexLimit && count(p.k) < kIndexLimit && blocks < kIndexLimit &&
         count(results(g, pass)) < count(1L << 62);
}

}  // namespace

bool algorithm_applies(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                       const ConvAlgorithm& a) {
  if (a.kernel == ConvKernel::kDirect) return a.splits == 1 || pass == ConvPass::kWeightGrad;
  if (dtype == DType::kFloat64 || !fits(g, dtype, pass)) return false;
  // The sum of splits is indexed with 32 bits.
  if (a.splits > 1 && static_cast<double>(results(g, pass)) >= kIndexLimit) return false;
  const bool weight_grad = pass == ConvPass::kWeightGrad;
  if (weight_grad && a.tile == kNarrowTile) return false;
  if (a.kernel == ConvKernel::kCudaCores) return dtype == DType::kFloat32 && a.tile > 0;
  if (channel_layout(source_channels(g, pass), dtype).vector_bytes == 8) {
    return a.tile == (weight_grad ? 2 : 1);
  }
  // The widest tile of float32 pixels would not leave room for three slices on every GPU.
  return a.tile > 0 || !weight_grad || dtype == DType::kBFloat16;
}

ConvAlgorithm choose_algorithm(const Conv2dGeometry& g, DType dtype, ConvPass pass) {
  ConvAlgorithm best{ConvKernel::kDirect, 0, direct_splits(g, pass)};
  double least = direct_seconds(g, dtype, pass, best.splits);
  const bool tensor_cores = dtype == DType::kBFloat16 || allow_tf32();
  const ConvKernel kernel = tensor_cores ? ConvKernel::kTensorCores : ConvKernel::kCudaCores;
  for (int32_t tile = 0; tile < static_cast<int32_t>(std::size(kTiles)); ++tile) {
    if (!algorithm_applies(g, dtype, pass, {kernel, tile, 1})) continue;
    const int64_t slices = ceil_div(product(g, dtype, pass).k, slice_items(dtype));
    for (const int32_t splits : kSplits) {
      const ConvAlgorithm candidate{kernel, tile, splits};
      if (splits > 1 &&
          (slices / splits < kMinSlices || !algorithm_applies(g, dtype, pass, candidate))) {
        break;
      }
      const double time = tiled_seconds(g, dtype, pass, candidate);
      if (time < least) {
        least = time;
        best = candidate;
      }
    }
  }
  return best;
}

// --- Operands -----------------------------------------------------------------------------------

ConvWorkspace conv_workspace(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                             const ConvAlgorithm& a) {
  constexpr int64_t kAlignment = 256;
  const auto bytes = [](int64_t items, int64_t size) {
    return static_cast<size_t>(ceil_div(items * size, kAlignment) * kAlignment);
  };
  ConvWorkspace workspace{};
  if (a.splits > 1) {
    const int64_t sum = dtype == DType::kFloat64 ? 8 : 4;
    workspace.partial = bytes(results(g, pass) * a.splits, sum);
  }
  if (a.kernel == ConvKernel::kDirect) return workspace;
  const bool backward = pass == ConvPass::kInputGrad;
  const ChannelLayout source = channel_layout((backward ? g.o : g.c) / g.groups, dtype);
  if (source.pads()) {
    const int64_t pixels = backward ? g.n * g.oh * g.ow : g.n * g.h * g.w;
    workspace.source = bytes(pixels * g.groups * source.padded(), item_bytes(dtype));
  }
  const ChannelLayout grad = grad_layout(g.o / g.groups, dtype);
  if (pass == ConvPass::kWeightGrad && grad.pads()) {
    workspace.grad = bytes(g.n * g.oh * g.ow * g.groups * grad.padded(), item_bytes(dtype));
  }
  return workspace;
}

Conv2dPlan make_plan(const Conv2dGeometry& g, DType dtype, ConvPass pass, const ConvAlgorithm& a) {
  size_t packed = 0;
  if (pass != ConvPass::kWeightGrad) {
    packed = static_cast<size_t>(g.groups * result_channels(g, pass) * g.kh * g.kw *
                                 packed_channels(g, dtype, pass, a)) *
             item_size(dtype);
  }
  constexpr const char* kNames[] = {"direct", "cuda cores", "tensor cores"};
  const bool as_stored = pass == ConvPass::kForward && a.kernel != ConvKernel::kDirect &&
                         !channel_layout(g.c / g.groups, dtype).pads();
  // Where the reduction is split, no block has a whole result.
  const bool has_results =
      pass == ConvPass::kForward && a.kernel != ConvKernel::kDirect && a.splits == 1;
  return {encode(a),
          packed,
          conv_workspace(g, dtype, pass, a).bytes(),
          kNames[static_cast<int>(a.kernel)],
          as_stored,
          has_results ? kTiles[a.tile].m : 0};
}

// --- Tiled kernels ------------------------------------------------------------------------------

GatherShape gather_shape(const Conv2dGeometry& g, DType dtype, ConvPass pass,
                         const ConvAlgorithm& a) {
  const TileSize tile = kTiles[a.tile];
  GatherShape s{};
  s.rows = vertical_axis<int32_t>(g, pass);
  s.columns = horizontal_axis<int32_t>(g, pass);
  s.images = static_cast<int32_t>(g.n);
  s.groups = static_cast<int32_t>(g.groups);
  s.filters = static_cast<int32_t>(result_channels(g, pass));
  s.vectors = channel_layout(source_channels(g, pass), dtype).vectors;
  s.by_vectors = FastDivisor(s.vectors);
  s.by_phase_rows = FastDivisor(ceil_div(s.rows.result, s.rows.phases));
  s.by_phase_columns = FastDivisor(ceil_div(s.columns.result, s.columns.phases));
  s.by_tiles_m = FastDivisor(ceil_div(s.pixels(), tile.m));
  s.by_tiles_n = FastDivisor(ceil_div(s.filters, tile.n));
  s.by_splits = FastDivisor(a.splits);
  s.by_groups = FastDivisor(g.groups);
  s.by_column_phases = FastDivisor(s.columns.phases);
  return s;
}

int64_t gather_blocks(const GatherShape& s) {
  return int64_t{s.by_tiles_m.divisor} * s.by_tiles_n.divisor * s.by_splits.divisor * s.groups *
         s.rows.phases * s.columns.phases;
}

WeightGradShape weight_grad_shape(const Conv2dGeometry& g, DType dtype, const ConvAlgorithm& a) {
  const TileSize tile = kTiles[a.tile];
  const ChannelLayout x = channel_layout(g.c / g.groups, dtype);
  const auto narrow = [](int64_t value) { return static_cast<int32_t>(value); };
  WeightGradShape s{};
  s.pixels = narrow(g.n * g.oh * g.ow);
  s.by_rows = FastDivisor(g.oh);
  s.by_columns = FastDivisor(g.ow);
  s.source_rows = narrow(g.h);
  s.source_columns = narrow(g.w);
  s.stride_h = narrow(g.stride_h);
  s.stride_w = narrow(g.stride_w);
  s.pad_h = narrow(g.pad_h);
  s.pad_w = narrow(g.pad_w);
  s.dilation_h = narrow(g.dilation_h);
  s.dilation_w = narrow(g.dilation_w);
  s.groups = narrow(g.groups);
  s.filters = narrow(g.o / g.groups);
  s.channels = narrow(g.c / g.groups);
  s.kernel_columns = narrow(g.kw);
  s.taps = narrow(g.kh * g.kw);
  s.vectors = x.vectors;
  s.grad_vectors = grad_layout(g.o / g.groups, dtype).vectors;
  s.by_vectors = FastDivisor(x.vectors);
  s.by_tiles_m = FastDivisor(ceil_div(s.filters, tile.m));
  s.by_tiles_n = FastDivisor(ceil_div(int64_t{s.taps} * x.padded(), tile.n));
  s.by_splits = FastDivisor(a.splits);
  return s;
}

int64_t weight_grad_blocks(const WeightGradShape& s) {
  return int64_t{s.by_tiles_m.divisor} * s.by_tiles_n.divisor * s.by_splits.divisor * s.groups;
}

}  // namespace striate::cuda
