// The weight gradient of a convolution: a sum of outer products over pixels, cut into chunks whose
// order is a function of the geometry alone.
#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"
#include "cpu/kernels.h"
#include "cpu/outer_product.h"

namespace striate::cpu {
namespace {

/// How the sum over pixels is cut. A unit of work is some groups' filters by panels of columns,
/// some of either, over one of `splits` ranges of chunks; a chunk is what stays in the caches,
/// where groups that share cache lines find it one after the other.
template <class T>
struct WeightGradPlan {
  Conv2dGeometry g;
  Pass pass;
  int64_t filter_size;                // columns of a filter
  std::vector<OuterPanel<T>> panels;  // of all groups, one after the other
  int64_t group_panels;
  int64_t splits, group_parts, filter_parts, panel_parts;
  int64_t chunk, chunks;  // result pixels of a chunk

  int64_t units_of_split() const { return group_parts * filter_parts * panel_parts; }
  /// Sums that are added up, or rounded, at the end; 0: the tiles' results are the gradient.
  int64_t sums() const {
    const bool rounds = sizeof(T) != sizeof(Compute<T>);
    return splits > 1 || rounds ? splits * g.o * filter_size : 0;
  }
  /// Bytes of the copied source, in front of the sums.
  int64_t source_bytes() const {
    return ceil_div(pass.source.copy_size() * int64_t{sizeof(T)}, 64) * 64;
  }
};

// Pixels: a packed panel takes most of the L1 cache.
template <class T>
constexpr int64_t kPackedChunk = 160 * kStep<T>;
// Pixels where few filters read the input in place: many chunks are many sums, and so each of them
// of pixels that one thread has computed.
constexpr int64_t kMostPixels = 400;
constexpr int64_t kSumBytes = 4 << 20;  // of the partial sums
constexpr int64_t kBlocksPerCopy = 6;   // tiles that should share a copied panel
constexpr int64_t kMostRows = 336;      // of a unit, whose gradients stay in the L2 cache

template <class T>
WeightGradPlan<T> plan_weight_grad(const Conv2dGeometry& g) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  WeightGradPlan<T> plan{g, make_pass(g, ConvPass::kWeightGrad), 0, {}, 0, 0, 0, 0, 0, 0, 0};
  const Pass& pass = plan.pass;
  Source& s = plan.pass.source;
  const bool merged = contiguous_taps(pass.columns[0], g);
  const int64_t run_length = pass.channels * (merged ? g.kw : 1);
  const int64_t row_runs = merged ? 1 : g.kw;
  plan.filter_size = g.kh * row_runs * run_length;

  // Where panels are read in place, the last one of a run reads whole vectors.
  const bool packs = OuterProducts<T>::packs_b(pass.filters);
  if (!packs && run_length % gemm.shapes[0].width != 0) s.copied = true;
  const std::vector<Panel> of_run = panels<T>(run_length);
  plan.group_panels = g.kh * row_runs * static_cast<int64_t>(of_run.size());
  for (int64_t group = 0; group < g.groups; ++group) {
    for (int64_t run = 0; run < g.kh * row_runs; ++run) {
      const Tap &row = pass.rows[0].taps[run / row_runs],
                &column = pass.columns[0].taps[run % row_runs];
      const int64_t offset = (row.offset + s.rows.before) * s.row() +
                             (column.offset + s.columns.before) * s.pixel() + group * pass.channels;
      for (const Panel& panel : of_run)
        plan.panels.push_back({offset + panel.column, run * run_length + panel.column, panel.filled,
                               &gemm.shape(run_length - panel.column)});
    }
  }

  const int64_t count = g.n * g.oh * g.ow, blocks = OuterProducts<T>::row_blocks(pass.filters);
  const int64_t pixel_values = g.c * g.stride_h * g.stride_w + g.o;
  const int64_t target =
      packs ? kPackedChunk<T> : std::clamp<int64_t>(131072 / pixel_values, 64, kMostPixels);
  plan.chunks = std::max<int64_t>(1, ceil_div(count, target));
  plan.chunk = ceil_div(count, plan.chunks);
  plan.group_parts = std::min(g.groups, kMinUnits);
  const int64_t wanted = ceil_div(kMinUnits, g.groups);
  const int64_t sum_bytes = g.o * plan.filter_size * int64_t{sizeof(Compute<T>)};
  const int64_t fewest = std::max<int64_t>(1, ceil_div(pass.filters, kMostRows));
  plan.splits = std::min({ceil_div(wanted, fewest), plan.chunks,
                          std::max<int64_t>(1, kSumBytes / std::max<int64_t>(1, sum_bytes))});
  // Every part of the filters copies all columns once more, every part of the panels all filters.
  const int64_t parts = ceil_div(wanted, plan.splits);
  const int64_t most = std::max(fewest, std::min(blocks / kBlocksPerCopy, parts));
  int64_t fewest_copies = 0;
  for (int64_t filter_parts = fewest; filter_parts <= most; ++filter_parts) {
    const int64_t panel_parts =
        std::clamp<int64_t>(ceil_div(parts, filter_parts), 1, plan.group_panels);
    const int64_t copies = filter_parts * plan.filter_size + panel_parts * pass.filters;
    if (fewest_copies == 0 || copies < fewest_copies) {
      fewest_copies = copies;
      plan.filter_parts = filter_parts;
      plan.panel_parts = panel_parts;
    }
  }
  return plan;
}

/// The sum over splits, in their order, in place of the first of them, rounded.
template <class T>
void add_up(const WeightGradPlan<T>& plan, Compute<T>* sums, T* grad_weight) {
  const int64_t size = plan.g.o * plan.filter_size;
  const auto accumulate = isa().rows<Compute<T>>().element.accumulate;
  parallel_for(size, ceil_div(65536, plan.splits), [&](int64_t begin, int64_t end) {
    for (int64_t split = 1; split < plan.splits; ++split)
      accumulate(end - begin, sums + split * size + begin, sums + begin);
    store_sums(end - begin, sums + begin, grad_weight + begin);
  });
}

/// Where the windows of result pixels [first, first + count) begin in the source.
template <class T>
void window_bases(const WeightGradPlan<T>& plan, const T* source, int64_t first, int64_t count,
                  const T** bases) {
  const Conv2dGeometry& g = plan.g;
  const Source& s = plan.pass.source;
  int64_t x = first % g.ow, row = first / g.ow;  // over all images
  for (int64_t p = 0; p < count; x = 0, ++row) {
    const T* base = source + row / g.oh * s.image() + row % g.oh * g.stride_h * s.row();
    for (; x < g.ow && p < count; ++x) bases[p++] = base + x * g.stride_w * s.pixel();
  }
}

template <class T>
void weight_grad(const Conv2dWeightGradArgs& args) {
  const WeightGradPlan<T> plan = plan_weight_grad<T>(args.g);
  const Conv2dGeometry& g = plan.g;
  const Source& s = plan.pass.source;
  auto* workspace = static_cast<char*>(args.workspace);
  const T* source = bordered(s, static_cast<const T*>(args.x), reinterpret_cast<T*>(workspace));
  const T* grad_y = static_cast<const T*>(args.grad_y);
  const int64_t filters = plan.pass.filters, size = g.o * plan.filter_size;
  auto* sums = static_cast<Compute<T>*>(plan.sums() > 0 ? workspace + plan.source_bytes()
                                                        : args.grad_weight);
  const int64_t pixels = g.n * g.oh * g.ow, blocks = OuterProducts<T>::row_blocks(filters);
  const int64_t of_split = plan.units_of_split(), units = of_split * plan.splits;
  const auto first_filter = [&](int64_t part) {
    return split_point(filters, blocks, split_point(blocks, plan.filter_parts, part));
  };
  struct Unit {
    int64_t split, group, end_group, filter, filters, panel, panels, chunk, end_chunk;
  };
  const auto unit_at = [&](int64_t index) -> Unit {
    const int64_t panel_part = index % plan.panel_parts, split = index / of_split;
    const int64_t filter_part = index / plan.panel_parts % plan.filter_parts;
    const int64_t group_part = index / plan.panel_parts / plan.filter_parts % plan.group_parts;
    const int64_t filter = first_filter(filter_part);
    const int64_t panel = split_point(plan.group_panels, plan.panel_parts, panel_part);
    return {split,
            split_point(g.groups, plan.group_parts, group_part),
            split_point(g.groups, plan.group_parts, group_part + 1),
            filter,
            first_filter(filter_part + 1) - filter,
            panel,
            split_point(plan.group_panels, plan.panel_parts, panel_part + 1) - panel,
            split_point(plan.chunks, plan.splits, split),
            split_point(plan.chunks, plan.splits, split + 1)};
  };
  const auto first_pixel = [&](int64_t chunk) { return split_point(pixels, plan.chunks, chunk); };

  const int64_t macs = pixels * plan.filter_size * g.o;
  const int64_t grain = ceil_div(kGrainMacs, std::max<int64_t>(1, macs / units));
  parallel_for(units, grain, [&](int64_t begin, int64_t end) {
    const int64_t most_filters =
        std::min(filters, ceil_div(blocks, plan.filter_parts) * kMaxTileRows);
    const int64_t dense_size =
        most_filters * ceil_div(plan.group_panels, plan.panel_parts) * kMaxTileWidth;
    OuterProducts<T> products(most_filters, plan.chunk);
    const auto dense = std::make_unique_for_overwrite<Compute<T>[]>(
        ceil_div(g.groups, plan.group_parts) * dense_size);
    std::vector<const T*> bases(plan.chunk);
    for (int64_t index = begin; index < end; ++index) {
      const Unit unit = unit_at(index), next_unit = unit_at(std::min(index + 1, end - 1));
      for (int64_t chunk = unit.chunk; chunk < unit.end_chunk; ++chunk) {
        const bool last = chunk + 1 == unit.end_chunk;
        const Unit& next = last ? next_unit : unit;
        const int64_t first = first_pixel(chunk), count = first_pixel(chunk + 1) - first;
        const int64_t next_first = first_pixel(last ? next.chunk : chunk + 1);
        const T* next_base;
        window_bases(plan, source, first, count, bases.data());
        window_bases(plan, source, next_first, 1, &next_base);
        for (int64_t group = unit.group; group < unit.end_group; ++group) {
          const int64_t filter = group * filters + unit.filter,
                        next_group = last ? next.group : group;
          const OuterSums<T> going_on{dense.get() + (group - unit.group) * dense_size};
          const OuterSums<T> complete{sums + unit.split * size + filter * plan.filter_size,
                                      plan.filter_size};
          products.run({grad_y + first * g.o + filter, g.o, unit.filters, bases.data(),
                        g.stride_w * s.pixel(), count,
                        grad_y + next_first * g.o + next_group * filters + next.filter,
                        next_base + plan.panels[next_group * plan.group_panels + next.panel].offset,
                        chunk > unit.chunk ? going_on : OuterSums<T>{}, last ? complete : going_on},
                       &plan.panels[group * plan.group_panels + unit.panel], unit.panels);
        }
      }
    }
  });
  if (plan.sums() > 0) add_up(plan, sums, static_cast<T*>(args.grad_weight));
}

template <class T>
bool pays(const Conv2dGeometry&, ConvPass pass) {
  return pass == ConvPass::kWeightGrad && (kStep<T> == 1 || isa().multiplies_bfloat16());
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass) {
  const WeightGradPlan<T> plan = plan_weight_grad<T>(g);
  return {0, 0, plan.source_bytes() + plan.sums() * sizeof(Compute<T>)};
}

}  // namespace

template <class T>
ConvAlgorithm<T> direct_weight_grad_algorithm() {
  return {kStep<T> == 1 ? "direct" : "pairs", pays<T>, plan<T>, nullptr, nullptr, weight_grad<T>};
}
template ConvAlgorithm<float> direct_weight_grad_algorithm();
template ConvAlgorithm<double> direct_weight_grad_algorithm();
template ConvAlgorithm<BFloat16> direct_weight_grad_algorithm();

}  // namespace striate::cpu
