// The weight gradient of a first layer: the kernel rows of three channels leave most of a vector
// empty, the filters do not. So the gradient is computed transposed, [kernel row][column][filter],
// with values of the input broadcast and vectors of grad_y, both read where they lie, a row of the
// result at a time.
#include <algorithm>
#include <vector>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

// Result rows are cut into `splits`, by the geometry alone, which are added up in their order.
template <class T>
struct Layout {
  Source source;
  int64_t run, columns;  // values of a kernel row, of a filter
  int64_t splits;

  explicit Layout(const Conv2dGeometry& g)
      : source(make_pass(g, ConvPass::kWeightGrad).source),
        run(g.kw * g.c),
        columns(g.kh * run),
        splits(std::min(kMinUnits, g.n * g.oh)) {}
};

template <class T>
bool pays(const Conv2dGeometry& g, ConvPass pass) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const int64_t run = g.kw * g.c;
  return pass == ConvPass::kWeightGrad && g.groups == 1 && (g.kw == 1 || g.dilation_w == 1) &&
         g.o >= gemm.shapes[gemm.count - 1].width && g.o % gemm.shapes[0].width == 0 &&
         run * vector_registers<T>(g.o) < g.o * vector_registers<T>(run);
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass) {
  const Layout<T> layout(g);
  return {0, 0, (layout.source.copy_size() + layout.splits * layout.columns * g.o) * sizeof(T)};
}

template <class T>
void weight_grad(const Conv2dWeightGradArgs& args) {
  const Conv2dGeometry& g = args.g;
  const Layout<T> layout(g);
  const Source& s = layout.source;
  T* workspace = static_cast<T*>(args.workspace);
  const T* source = bordered(s, static_cast<const T*>(args.x), workspace);
  const T* grad_y = static_cast<const T*>(args.grad_y);
  T* partial = workspace + s.copy_size();
  const int64_t size = layout.columns * g.o;
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const std::vector<Panel> panels = cpu::panels<T>(g.o);

  const auto add_row = [&](int64_t row, const T* const* b, bool accumulate, T* sums) {
    const T* next_row = b[0] + g.ow * g.o;
    ReadAhead<T> ahead{next_row, next_row + g.ow * g.o};
    const T* window = source + row / g.oh * s.image() + row % g.oh * g.stride_h * s.row();
    for (const Panel& panel : panels) {
      const TileShape<T>& shape = gemm.shape(g.o - panel.column);
      const int64_t pieces = ceil_div(layout.run, shape.rows);
      for (int64_t ky = 0; ky < g.kh; ++ky) {
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t first = split_point(layout.run, pieces, piece);
          const int64_t rows = split_point(layout.run, pieces, piece + 1) - first;
          const T* a = window + ky * g.dilation_h * s.row() + first;
          T* c = sums + (ky * layout.run + first) * g.o + panel.column;
          shape.outer[rows]({a, g.stride_w * s.pixel(), b, panel.column, g.ow,
                             accumulate ? c : nullptr, g.o, c, g.o, panel.width,
                             ahead.lines(g.ow)});
        }
      }
    }
  };
  const int64_t macs = g.n * g.oh * g.ow * size;
  parallel_for(layout.splits, ceil_div(kGrainMacs, std::max<int64_t>(1, macs / layout.splits)),
               [&](int64_t begin, int64_t end) {
                 std::vector<const T*> b(g.ow);
                 for (int64_t split = begin; split < end; ++split) {
                   const int64_t first = split_point(g.n * g.oh, layout.splits, split);
                   const int64_t last = split_point(g.n * g.oh, layout.splits, split + 1);
                   for (int64_t row = first; row < last; ++row) {
                     for (int64_t x = 0; x < g.ow; ++x) b[x] = grad_y + (row * g.ow + x) * g.o;
                     add_row(row, b.data(), row > first, partial + split * size);
                   }
                 }
               });

  T* grad_weight = static_cast<T*>(args.grad_weight);
  const auto accumulate = isa().rows<T>().element.accumulate;
  parallel_for(layout.columns, grain_for(layout.splits * g.o), [&](int64_t begin, int64_t end) {
    T* sums = partial + begin * g.o;
    for (int64_t split = 1; split < layout.splits; ++split)
      accumulate((end - begin) * g.o, sums + split * size, sums);
    for (int64_t column = begin; column < end; ++column)
      for (int64_t filter = 0; filter < g.o; ++filter)
        grad_weight[filter * layout.columns + column] = partial[column * g.o + filter];
  });
}

}  // namespace

template <class T>
ConvAlgorithm<T> narrow_algorithm() {
  return {"narrow", pays<T>, plan<T>, nullptr, nullptr, weight_grad<T>};
}
template ConvAlgorithm<float> narrow_algorithm();
template ConvAlgorithm<double> narrow_algorithm();

}  // namespace striate::cpu
