// A linear layer on a few rows multiplies each weight so rarely that reading the weight bounds it,
// and packing it, which a training step does anew, costs several times as much. So the weight
// [o][i] is read in place, once. Forward, its rows are the tile's rows and the inputs, transposed,
// its columns: y' = W x', or W x alone for one row. In the input gradient its rows are the terms of
// a sum of outer products.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"
#include "cpu/outer_product.h"

namespace striate::cpu {
namespace {

constexpr int64_t kMostRows = 32;         // of x; with more, packing is cheap beside the product
constexpr int64_t kLeastWeight = 262144;  // values; a smaller one is packed in no time
constexpr int64_t kInputs = 4096;         // summed over at a time: what x' takes of the L2 cache
constexpr int64_t kDots = 16;             // results of one call
// Of a tile. Rows a multiple of 4 KB long share the sets of an L1 cache, which keep eight lines
// each.
constexpr int64_t kWeightRows = 7;
constexpr int64_t kTerms = 128;  // weight rows whose pieces one sweep over columns reads

/// Columns of the transposed input with what fills its last panel.
template <class T>
int64_t padded_rows(const Conv2dGeometry& g) {
  const Panel last = panels<T>(g.n).back();
  return last.column + last.width;
}

template <class T>
void store_result(const Epilogue<T>& epilogue, T value, int64_t o, T* result) {
  if (epilogue.bias) value += epilogue.bias[o];
  if (epilogue.residual != 0) value += result[epilogue.residual];
  *result = epilogue.relu && value <= 0 ? T(0) : value;
}

/// One row of x: a tile would have one column.
template <class T>
void forward_row(const Conv2dGeometry& g, const T* x, const T* weight, const Epilogue<T>& epilogue,
                 T* y) {
  const auto dot = isa().rows<T>().element.dot;
  parallel_for(g.o, ceil_div(65536, g.c), [&](int64_t begin, int64_t end) {
    T sums[kDots];
    for (int64_t first = begin; first < end; first += kDots) {
      const int64_t count = std::min(kDots, end - first);
      dot(g.c, x, count, weight + first * g.c, sums);
      for (int64_t o = first; o < first + count; ++o)
        store_result(epilogue, sums[o - first], o, y + o);
    }
  });
}

/// y'[o][padded] = W x', then the epilogue on its way to y[n][o].
template <class T>
void forward(const Conv2dGeometry& g, const T* x, const T* weight, const Epilogue<T>& epilogue,
             T* y, T* workspace) {
  const std::vector<Panel> all = panels<T>(g.n);
  const int64_t padded = padded_rows<T>(g);
  T* transposed = workspace;  // [panel][c][width]
  parallel_for(g.c, std::max<int64_t>(1, 16384 / g.n), [&](int64_t begin, int64_t end) {
    for (const Panel& panel : all) {
      for (int64_t i = begin; i < end; ++i) {
        T* row = transposed + panel.column * g.c + i * panel.width;
        for (int64_t j = 0; j < panel.filled; ++j) row[j] = x[(panel.column + j) * g.c + i];
        std::fill(row + panel.filled, row + panel.width, T(0));
      }
    }
  });

  T* sums[2] = {workspace + padded * g.c, workspace + padded * (g.c + g.o)};
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const int64_t most = std::min<int64_t>(kWeightRows, gemm.shapes[gemm.count - 1].rows);
  const int64_t blocks = ceil_div(g.o, most), parts = std::min(blocks, kMinUnits);
  const int64_t chunks = ceil_div(g.c, kInputs), zero = 0;
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    const int64_t first_block = split_point(blocks, parts, begin);
    const int64_t last_block = split_point(blocks, parts, end);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t input = split_point(g.c, chunks, chunk);
      const int64_t inputs = split_point(g.c, chunks, chunk + 1) - input;
      T *target = sums[chunk % 2], *previous = sums[(chunk + 1) % 2];
      for (int64_t block = first_block; block < last_block; ++block) {
        const int64_t first = split_point(g.o, blocks, block);
        const int64_t rows = split_point(g.o, blocks, block + 1) - first;
        for (const Panel& panel : all) {
          const T* a[kMaxTileRows];
          T* c[kMaxTileRows];
          for (int64_t r = 0; r < rows; ++r) {
            a[r] = weight + (first + r) * g.c + input;
            c[r] = target + (first + r) * padded + panel.column;
          }
          const TileShape<T>& shape = gemm.shape(g.n - panel.column);
          shape.tile[rows]({a,
                            c,
                            &zero,
                            1,
                            inputs,
                            transposed + panel.column * g.c + input * panel.width,
                            {nullptr, chunk == 0 ? 0 : previous - target, false},
                            panel.width,
                            {transposed, 0}});
        }
      }
    }
    const T* total = sums[(chunks - 1) % 2];
    for (int64_t n = 0; n < g.n; ++n) {
      for (int64_t o = split_point(g.o, blocks, first_block);
           o < split_point(g.o, blocks, last_block); ++o)
        store_result(epilogue, total[o * padded + n], o, y + n * g.o + o);
    }
  });
}

/// grad_x = grad_y W, plus a bias.
template <class T>
void input_grad(const Conv2dGeometry& g, const T* grad_y, const T* weight, const T* bias, T* grad_x,
                T* workspace) {
  T* transposed = workspace;  // grad_y as [o][n]
  for (int64_t o = 0; o < g.o; ++o)
    for (int64_t n = 0; n < g.n; ++n) transposed[o * g.n + n] = grad_y[n * g.o + o];
  std::vector<const T*> weight_rows(g.o);
  for (int64_t o = 0; o < g.o; ++o) weight_rows[o] = weight + o * g.c;
  const GemmKernels<T>& gemm = isa().gemm<T>();
  std::vector<OuterPanel<T>> of_row;
  for (const Panel& panel : panels<T>(g.c))
    of_row.push_back({panel.column, panel.column, panel.filled, &gemm.shape(g.c - panel.column)});
  const int64_t panel_count = static_cast<int64_t>(of_row.size());
  const int64_t parts = std::min(panel_count, kMinUnits);
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    OuterProducts<T> products(g.n, kTerms);
    const int64_t first = split_point(panel_count, parts, begin);
    const int64_t count = split_point(panel_count, parts, end) - first;
    for (int64_t n = 0; bias != nullptr && n < g.n; ++n)
      std::copy(bias + of_row[first].column,
                bias + of_row[first + count - 1].column + of_row[first + count - 1].filled,
                grad_x + n * g.c + of_row[first].column);
    for (int64_t o = 0; o < g.o; o += kTerms) {
      const OuterSums<T> sums{grad_x, g.c};
      products.run(
          {transposed + o * g.n, g.n, g.n, weight_rows.data() + o, g.c, std::min(kTerms, g.o - o),
           transposed + (o + kTerms) * g.n, weight_rows[o] + kTerms * g.c + of_row[first].offset,
           o > 0 || bias != nullptr ? sums : OuterSums<T>{}, sums},
          &of_row[first], count);
    }
  });
}

/// Whole vectors of inputs, because the last panel of a weight row is read to its full width.
template <class T>
bool pays(const Conv2dGeometry& g, ConvPass pass) {
  return pass != ConvPass::kWeightGrad && g.kh * g.kw * g.h * g.w == 1 && g.groups == 1 &&
         g.pad_h + g.pad_w == 0 && g.n <= kMostRows && g.c * g.o >= kLeastWeight &&
         g.c % isa().gemm<T>().shapes[0].width == 0;
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass pass) {
  const int64_t values = pass == ConvPass::kInputGrad ? g.n * g.o
                         : g.n == 1                   ? 0
                                                      : padded_rows<T>(g) * (g.c + 2 * g.o);
  return {.algorithm = 0,
          .packed = g.o * g.c * sizeof(T),
          .workspace = values * sizeof(T),
          .as_stored = true};
}

/// A dense [o][i] copy, for weights that are stored otherwise.
void pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t* strides = args.weight_strides;
  copy({args.dtype,
        args.dtype,
        args.weight,
        args.packed,
        {g.o, g.c},
        {strides[0], strides[1]},
        {g.c, 1}},
       {});
}

template <class T>
void run(const ConvCall<T>& c) {
  const T* weight = static_cast<const T*>(c.packed);
  T* workspace = static_cast<T*>(c.workspace);
  if (c.pass == ConvPass::kInputGrad)
    return input_grad(c.g, c.x, weight, c.epilogue.bias, c.y, workspace);
  if (c.g.n == 1) return forward_row(c.g, c.x, weight, c.epilogue, c.y);
  forward(c.g, c.x, weight, c.epilogue, c.y, workspace);
}

}  // namespace

template <class T>
ConvAlgorithm<T> in_place_algorithm() {
  return {"in_place", pays<T>, plan<T>, pack, run<T>, nullptr};
}
template ConvAlgorithm<float> in_place_algorithm();
template ConvAlgorithm<double> in_place_algorithm();

}  // namespace striate::cpu
