// The weight gradient of bfloat16: outer products of two pixels at a time into float32 sums, which
// are rounded at the end. Chunks of pixels and their order are functions of the geometry alone.
#include "cpu/conv2d_bfloat16.h"
#include "cpu/conv2d_pairs.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

struct PairGradPlan {
  Pass pass;
  int64_t runs, run_length;  // contiguous pieces of a filter, and their columns
  int64_t panels, filter_blocks, tiles;
  int64_t chunk_images, chunk_rows, chunks, splits;
};

PairGradPlan make_plan(const Conv2dGeometry& g) {
  PairGradPlan plan{make_pass(g, ConvPass::kWeightGrad), 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const bool merged = contiguous_taps(plan.pass.columns[0], g);
  plan.runs = g.kh * (merged ? 1 : g.kw);
  plan.run_length = plan.pass.channels * (merged ? g.kw : 1);
  // The last panel of a run reads whole vectors.
  if (plan.run_length % kPairWidth != 0) plan.pass.source.copied = true;
  plan.panels = ceil_div(plan.run_length, kPairWidth);
  plan.filter_blocks = ceil_div(plan.pass.filters, kPairRows);
  plan.tiles = g.groups * plan.runs * plan.panels * plan.filter_blocks;
  // What all tiles read of a chunk stays in the L2 cache.
  const int64_t pixel_values = g.c * g.stride_h * g.stride_w + g.o;
  const int64_t chunk_pixels = std::clamp<int64_t>(262144 / pixel_values, 64, 8192);
  const int64_t rows = std::max<int64_t>(1, chunk_pixels / std::max<int64_t>(1, g.ow));
  plan.chunk_rows = std::min(std::max<int64_t>(1, g.oh), rows);
  plan.chunk_images = std::max<int64_t>(1, rows / std::max<int64_t>(1, g.oh));
  plan.chunks = ceil_div(std::max<int64_t>(1, g.n), plan.chunk_images) *
                ceil_div(std::max<int64_t>(1, g.oh), plan.chunk_rows);
  plan.splits = std::clamp<int64_t>(ceil_div(kMinUnits, plan.tiles), 1, plan.chunks);
  return plan;
}

/// Bytes of the copied source: whole floats, since the sums lie behind it.
size_t source_bytes(const Source& s) { return (s.copy_size() * sizeof(BFloat16) + 63) / 64 * 64; }

/// Merges the innermost pixel dimensions where both operands walk them without a jump.
void collapse(PairOuterArgs& args) {
  for (int merged = 0; merged < 2; ++merged) {
    const bool seamless = args.a_step[1] == args.a_step[2] * args.count[2] &&
                          args.b_step[1] == args.b_step[2] * args.count[2];
    if (args.count[2] != 1 && args.count[1] != 1 && !seamless) return;
    if (args.count[2] == 1) {
      args.a_step[2] = args.a_step[1];
      args.b_step[2] = args.b_step[1];
    }
    args.count[2] *= args.count[1];
    args.count[1] = args.count[0];
    args.a_step[1] = args.a_step[0];
    args.b_step[1] = args.b_step[0];
    args.count[0] = 1;
  }
}

}  // namespace

Conv2dPlan pairs_weight_grad_plan(const Conv2dGeometry& g) {
  const PairGradPlan plan = make_plan(g);
  const int64_t sums = plan.splits * g.o * plan.run_length * plan.runs;
  return {kPairs, 0, source_bytes(plan.pass.source) + sums * sizeof(float), "pairs"};
}

void pairs_weight_grad(const Conv2dWeightGradArgs& args) {
  const Conv2dGeometry& g = args.g;
  const PairGradPlan plan = make_plan(g);
  const Source& s = plan.pass.source;
  const BFloat16* source =
      bordered(s, static_cast<const BFloat16*>(args.x), static_cast<BFloat16*>(args.workspace));
  const auto* grad_y = static_cast<const BFloat16*>(args.grad_y);
  auto* sums = reinterpret_cast<float*>(static_cast<char*>(args.workspace) + source_bytes(s));
  const int64_t filter_size = plan.run_length * plan.runs, size = g.o * filter_size;
  const int64_t image_chunks = ceil_div(std::max<int64_t>(1, g.n), plan.chunk_images);
  const bool merged = plan.runs == g.kh;
  const PairKernels& kernels = *isa().pairs;

  const auto run_tile = [&](int64_t tile, int64_t chunk, float* target, bool accumulate) {
    const int64_t block = tile % plan.filter_blocks;
    const int64_t column = tile / plan.filter_blocks % plan.panels * kPairWidth;
    const int64_t run = tile / plan.filter_blocks / plan.panels % plan.runs;
    const int64_t group = tile / plan.filter_blocks / plan.panels / plan.runs;
    const int64_t first_filter = split_point(plan.pass.filters, plan.filter_blocks, block);
    const int64_t filters =
        split_point(plan.pass.filters, plan.filter_blocks, block + 1) - first_filter;
    const Tap& row = plan.pass.rows[0].taps[merged ? run : run / g.kw];
    const Tap& tap = plan.pass.columns[0].taps[merged ? 0 : run % g.kw];
    const int64_t image = chunk % image_chunks * plan.chunk_images;
    const int64_t y = chunk / image_chunks * plan.chunk_rows;
    PairOuterArgs outer{
        .a = grad_y + (image * g.oh + y) * g.ow * g.o + group * plan.pass.filters + first_filter,
        .b = source + image * s.image() + (y * g.stride_h + row.offset + s.rows.before) * s.row() +
             (tap.offset + s.columns.before) * s.pixel() + group * plan.pass.channels + column,
        .count = {std::min(plan.chunk_images, g.n - image), std::min(plan.chunk_rows, g.oh - y),
                  g.ow},
        .a_step = {g.oh * g.ow * g.o, g.ow * g.o, g.o},
        .b_step = {s.image(), g.stride_h * s.row(), g.stride_w * s.pixel()},
        .c = target + (group * plan.pass.filters + first_filter) * filter_size +
             run * plan.run_length + column,
        .c_stride = filter_size,
        .n = std::min<int64_t>(kPairWidth, plan.run_length - column),
        .accumulate = accumulate,
    };
    collapse(outer);
    kernels.outer[filters](outer);
  };

  const int64_t macs = g.n * g.oh * g.ow * filter_size * plan.pass.filters * g.groups;
  const int64_t units = plan.tiles * plan.splits;
  const int64_t grain = ceil_div(2 * kGrainMacs, std::max<int64_t>(1, macs / units));
  parallel_for(units, grain, [&](int64_t begin, int64_t end) {
    for (int64_t split = begin / plan.tiles; split * plan.tiles < end; ++split) {
      const int64_t first_tile = std::max<int64_t>(begin - split * plan.tiles, 0);
      const int64_t last_tile = std::min(end - split * plan.tiles, plan.tiles);
      const int64_t first_chunk = split_point(plan.chunks, plan.splits, split);
      const int64_t last_chunk = split_point(plan.chunks, plan.splits, split + 1);
      for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk)
        for (int64_t tile = first_tile; tile < last_tile; ++tile)
          run_tile(tile, chunk, sums + split * size, chunk > first_chunk);
    }
  });
  auto* grad_weight = static_cast<BFloat16*>(args.grad_weight);
  parallel_for(size, kElementGrain / plan.splits, [&](int64_t begin, int64_t end) {
    const auto accumulate = isa().rows_float.element.accumulate;
    for (int64_t split = 1; split < plan.splits; ++split)
      accumulate(end - begin, sums + split * size + begin, sums + begin);
    isa().convert.narrow(end - begin, sums + begin, grad_weight + begin);
  });
}

}  // namespace striate::cpu
