// The weight gradient of a convolution: a sum of outer products over pixels, cut into chunks whose
// order is a function of the geometry alone. Few filters are computed for several neighbouring
// pixels at once, each with gradients of its own, which are added up in the end.
#include "cpu/conv2d_direct.h"
#include "cpu/conv2d_pass.h"
#include "cpu/kernels.h"

namespace striate::cpu {
namespace {

// --- Weight gradient ----------------------------------------------------------------------------

/// How the sum over pixels is cut. Chunks keep what all tiles read of source and gradient in the
/// L2 cache; partial sums over `splits` ranges of chunks give work to threads when the weight is
/// tiny.
struct WeightGradPlan {
  int64_t pixels;    // joined, see joined()
  Conv2dGeometry g;  // of them
  Pass pass;
  int64_t runs, run_length;   // contiguous pieces of a filter, and their columns
  std::vector<Panel> panels;  // of a run
  int64_t filter_blocks;
  int64_t tiles;  // groups x runs x panels x blocks of filters
  int64_t chunk_images, chunk_rows, chunks, splits;

  /// Terms of each element in the last sum; 1: there is none.
  int64_t sums() const { return splits * pixels; }
};

/// As many pixels as give one tile all its rows, at no cost in vectors.
template <class T>
int64_t joined_pixels(const Conv2dGeometry& g) {
  if (g.groups > 1 || g.dilation_w > 1) return 1;
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const int64_t rows = gemm.shapes[gemm.count - 1].rows;
  const auto vectors = [&](int64_t pixels) {
    return vector_registers<T>((g.kw + (pixels - 1) * g.stride_w) * g.c);
  };
  int64_t best = 1;
  for (int64_t pixels = 2; pixels * g.o <= rows; ++pixels)
    if (g.ow % pixels == 0 && vectors(pixels) == vectors(1)) best = pixels;
  return best;
}

template <class T>
WeightGradPlan plan_weight_grad(const Conv2dGeometry& original) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const int64_t pixels = joined_pixels<T>(original);
  const Conv2dGeometry g = joined(original, pixels);
  WeightGradPlan plan{pixels, g, make_pass(g, ConvPass::kWeightGrad), 0, 0, {}, 0, 0, 0, 0, 0, 0};
  const bool merged = contiguous_taps(plan.pass.columns[0], g);
  plan.runs = g.kh * (merged ? 1 : g.kw);
  plan.run_length = plan.pass.channels * (merged ? g.kw : 1);
  // The last panel of a run reads whole vectors.
  if (plan.run_length % gemm.shapes[0].width != 0) plan.pass.source.copied = true;
  // Wider shapes have fewer rows.
  plan.filter_blocks = ceil_div(plan.pass.filters, gemm.shapes[gemm.count - 1].rows);
  plan.panels = panels<T>(plan.run_length);
  plan.tiles = g.groups * plan.runs * static_cast<int64_t>(plan.panels.size()) * plan.filter_blocks;

  const int64_t pixel_values = g.c * g.stride_h * g.stride_w + g.o;
  const int64_t chunk_pixels = std::clamp<int64_t>(131072 / pixel_values, 64, 8192);
  const int64_t rows = std::max<int64_t>(1, chunk_pixels / std::max<int64_t>(1, g.ow));
  plan.chunk_rows = std::min(std::max<int64_t>(1, g.oh), rows);
  plan.chunk_images = std::max<int64_t>(1, rows / std::max<int64_t>(1, g.oh));
  plan.chunks = std::max<int64_t>(1, ceil_div(g.n, plan.chunk_images)) *
                std::max<int64_t>(1, ceil_div(g.oh, plan.chunk_rows));
  plan.splits = std::clamp<int64_t>(ceil_div(kMinUnits, plan.tiles), 1, plan.chunks);
  return plan;
}

/// Merges the innermost pixel dimensions where both operands walk them without a jump.
template <class T>
void collapse(OuterTileArgs<T>& args) {
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

/// The sum over splits and joined pixels, in this order. The kernel of each of these pixels begins
/// where its window does.
template <class T>
void add_up(const Conv2dGeometry& g, const WeightGradPlan& plan, const T* partial, T* grad_weight) {
  const int64_t channels = plan.pass.channels, length = g.kw * channels;
  const int64_t joined_length = plan.g.kw * channels;
  const int64_t pixel_step = g.o * g.kh * joined_length + g.stride_w * channels;
  const int64_t split_step = plan.g.o * g.kh * joined_length;
  parallel_for(g.o * g.kh, ceil_div(65536, length), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* terms = partial + row * joined_length;
      for (int64_t i = 0; i < length; ++i) {
        T total = 0;
        for (int64_t split = 0; split < plan.splits; ++split)
          for (int64_t pixel = 0; pixel < plan.pixels; ++pixel)
            total += terms[split * split_step + pixel * pixel_step + i];
        grad_weight[row * length + i] = total;
      }
    }
  });
}

}  // namespace

template <class T>
void direct_weight_grad(const Conv2dWeightGradArgs& args) {
  const WeightGradPlan plan = plan_weight_grad<T>(args.g);
  const Conv2dGeometry& g = plan.g;
  const Source& s = plan.pass.source;
  T* workspace = static_cast<T*>(args.workspace);
  const T* source = bordered(s, static_cast<const T*>(args.x), workspace);
  const T* grad_y = static_cast<const T*>(args.grad_y);
  T* grad_weight = static_cast<T*>(args.grad_weight);
  const int64_t filter_size = plan.run_length * plan.runs, size = g.o * filter_size;
  T* partial = plan.sums() > 1 ? workspace + s.copy_size() : grad_weight;
  const int64_t panel_count = static_cast<int64_t>(plan.panels.size());
  const int64_t image_chunks = std::max<int64_t>(1, ceil_div(g.n, plan.chunk_images));
  const bool merged = plan.runs == g.kh;

  const auto run_tile = [&](int64_t tile, int64_t chunk, T* target, bool accumulate) {
    const int64_t block = tile % plan.filter_blocks;
    const Panel& panel = plan.panels[tile / plan.filter_blocks % panel_count];
    const int64_t run = tile / plan.filter_blocks / panel_count % plan.runs;
    const int64_t group = tile / plan.filter_blocks / panel_count / plan.runs;
    const int64_t first_filter = split_point(plan.pass.filters, plan.filter_blocks, block);
    const int64_t filters =
        split_point(plan.pass.filters, plan.filter_blocks, block + 1) - first_filter;

    const Tap& row = plan.pass.rows[0].taps[merged ? run : run / g.kw];
    const Tap& tap = plan.pass.columns[0].taps[merged ? 0 : run % g.kw];
    const int64_t image = chunk % image_chunks * plan.chunk_images;
    const int64_t y = chunk / image_chunks * plan.chunk_rows;
    OuterTileArgs<T> outer{};
    outer.a = grad_y + (image * g.oh + y) * g.ow * g.o + group * plan.pass.filters + first_filter;
    outer.b = source + image * s.image() + (y * g.stride_h + row.offset + s.rows.before) * s.row() +
              (tap.offset + s.columns.before) * s.pixel() + group * plan.pass.channels +
              panel.column;
    const int64_t counts[3] = {std::min(plan.chunk_images, g.n - image),
                               std::min(plan.chunk_rows, g.oh - y), g.ow};
    const int64_t a_steps[3] = {g.oh * g.ow * g.o, g.ow * g.o, g.o};
    const int64_t b_steps[3] = {s.image(), g.stride_h * s.row(), g.stride_w * s.pixel()};
    std::copy_n(counts, 3, outer.count);
    std::copy_n(a_steps, 3, outer.a_step);
    std::copy_n(b_steps, 3, outer.b_step);
    collapse(outer);
    outer.c = target + (group * plan.pass.filters + first_filter) * filter_size +
              run * plan.run_length + panel.column;
    outer.c_stride = filter_size;
    outer.n = panel.filled;
    outer.accumulate = accumulate;
    isa().gemm<T>().shape(plan.run_length - panel.column).outer[filters](outer);
  };

  const int64_t macs = g.n * g.oh * g.ow * filter_size * plan.pass.filters * g.groups;
  const int64_t units = plan.tiles * plan.splits;
  const int64_t grain = ceil_div(kGrainMacs, std::max<int64_t>(1, macs / units));
  parallel_for(units, grain, [&](int64_t begin, int64_t end) {
    for (int64_t split = begin / plan.tiles; split * plan.tiles < end; ++split) {
      const int64_t first_tile = std::max<int64_t>(begin - split * plan.tiles, 0);
      const int64_t last_tile = std::min(end - split * plan.tiles, plan.tiles);
      const int64_t first_chunk = split_point(plan.chunks, plan.splits, split);
      const int64_t last_chunk = split_point(plan.chunks, plan.splits, split + 1);
      for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk)
        for (int64_t tile = first_tile; tile < last_tile; ++tile)
          run_tile(tile, chunk, partial + split * size, chunk > first_chunk);
    }
  });
  if (plan.sums() > 1) add_up(args.g, plan, partial, grad_weight);
}

template <class T>
Conv2dPlan weight_grad_plan(const Conv2dGeometry& g) {
  const WeightGradPlan plan = plan_weight_grad<T>(g);
  const int64_t partial =
      plan.sums() > 1 ? plan.splits * plan.g.o * plan.run_length * plan.runs : 0;
  return {kDirect, 0, (plan.pass.source.copy_size() + partial) * sizeof(T)};
}

#define STRIATE_INSTANTIATE(T)                                    \
  template Conv2dPlan weight_grad_plan<T>(const Conv2dGeometry&); \
  template void direct_weight_grad<T>(const Conv2dWeightGradArgs&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
