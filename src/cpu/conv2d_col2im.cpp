// The input gradient as a product and a sum, image by image: columns [pixel of y][kh][kw][c] =
// grad_y [pixel][o] x weight [o][kh][kw][c], then every pixel of grad_x adds up the columns of the
// windows that it lies in. Nothing outside the image is multiplied, which direct convolution does
// at the ends of each row (LeNet-5's second convolution: 1.4 times the work), and the product
// fills its vectors however few the channels are.
#include "cpu/conv2d_col2im.h"

#include "cpu/conv2d_pass.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

// An image's columns stay in the L2 cache.
constexpr int64_t kMaxColumnBytes = 262144;
// Loads from there, at odd addresses, cost this many multiply-adds.
constexpr int64_t kSumOps = 4;

int64_t column_count(const Conv2dGeometry& g) { return g.kh * g.kw * g.c; }

/// Columns with their padding, a whole number of the widest tiles.
int64_t row_size(const Conv2dGeometry& g) {
  return ceil_div(column_count(g), kMaxTileWidth) * kMaxTileWidth;
}
/// Elements of one image's columns; sums read up to a vector past the last.
int64_t slot_size(const Conv2dGeometry& g) { return g.oh * g.ow * row_size(g) + kMaxTileWidth; }

/// The pixels of one phase along an axis that at least one window covers have taps [first, last).
std::pair<int64_t, int64_t> inside(const Phase& phase, int64_t index, int64_t length) {
  int64_t first = 0, last = static_cast<int64_t>(phase.taps.size());
  while (first < last && index + phase.taps[first].offset < 0) ++first;
  while (first < last && index + phase.taps[last - 1].offset >= length) --last;
  return {first, last};
}

/// The distance between neighbouring taps of a phase, in columns: both of its parts are constant.
int64_t tap_step(const Phase& phase, int64_t offset_step, int64_t kernel_step) {
  if (phase.taps.size() < 2) return 0;
  return (phase.taps[1].offset - phase.taps[0].offset) * offset_step +
         (phase.taps[1].kernel - phase.taps[0].kernel) * kernel_step;
}

template <class T>
void product(const Conv2dGeometry& g, const std::vector<Panel>& panels, const T* grad_y,
             const T* packed, T* columns) {
  const int64_t pixels = g.oh * g.ow, size = row_size(g), no_offset = 0;
  for (const Panel& panel : panels) {
    const TileShape<T>& shape = isa().gemm<T>().shape(column_count(g) - panel.column);
    const int64_t tiles = ceil_div(pixels, shape.rows);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t begin = split_point(pixels, tiles, tile);
      const int64_t rows = split_point(pixels, tiles, tile + 1) - begin;
      const T* a[kMaxTileRows];
      T* c[kMaxTileRows];
      for (int64_t r = 0; r < rows; ++r) {
        a[r] = grad_y + (begin + r) * g.o;
        c[r] = columns + (begin + r) * size + panel.column;
      }
      const T* b = packed + panel.column * g.o;
      shape.tile[rows]({a, c, &no_offset, 1, g.o, b, {}, panel.width, b, 0});
    }
  }
}

template <class T>
void sum_windows(const Conv2dGeometry& g, const Pass& pass, const T* columns, const T* bias,
                 T* grad_x) {
  const auto grid_sum = isa().rows<T>().element.grid_sum;
  const int64_t size = row_size(g);
  for (const Phase& rows : pass.rows) {
    const int64_t row_step = tap_step(rows, g.ow * size, g.kw * g.c);
    for (int64_t i = 0; i < rows.count; ++i) {
      const auto [top, bottom] = inside(rows, i, g.oh);
      const T* row = columns;
      if (top < bottom)
        row += (i + rows.taps[top].offset) * g.ow * size + rows.taps[top].kernel * g.kw * g.c;
      T* target = grad_x + (rows.start + i * rows.step) * g.w * g.c;
      for (const Phase& across : pass.columns) {
        const int64_t column_step = tap_step(across, size, g.c);
        for (int64_t j = 0; j < across.count; ++j) {
          const auto [left, right] = inside(across, j, g.ow);
          const T* first = row;
          if (left < right)
            first += (j + across.taps[left].offset) * size + across.taps[left].kernel * g.c;
          grid_sum({first, {bottom - top, right - left}, {row_step, column_step}, bias}, g.c,
                   target + (across.start + j * across.step) * g.c);
        }
      }
    }
  }
}

}  // namespace

template <class T>
bool col2im_pays(const Conv2dGeometry& g, ConvPass pass) {
  if (pass != ConvPass::kInputGrad || g.groups > 1) return false;
  if (slot_size(g) * static_cast<int64_t>(sizeof(T)) > kMaxColumnBytes) return false;
  int64_t across = 0;  // pairs of a tap and a pixel in a row
  for (const Phase& phase : phases(horizontal(g), pass))
    across += phase.count * static_cast<int64_t>(phase.taps.size());
  const int64_t direct = g.oh * g.kh * across * g.o * vector_registers<T>(g.c);
  const int64_t multiply = g.oh * g.ow * g.o * vector_registers<T>(column_count(g));
  const int64_t sum = g.oh * g.ow * g.kh * g.kw * vector_registers<T>(g.c) * kSumOps;
  return 5 * (multiply + sum) < 4 * direct;
}

template <class T>
Conv2dPlan col2im_plan(const Conv2dGeometry& g) {
  const int64_t slots = std::min<int64_t>(num_threads(), g.n);
  return {kCol2im, g.o * row_size(g) * sizeof(T), slots * slot_size(g) * sizeof(T)};
}

template <class T>
void col2im_pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t* strides = args.weight_strides;
  T* packed = static_cast<T*>(args.packed);
  for (const Panel& panel : panels<T>(column_count(g))) {
    for (int64_t filter = 0; filter < g.o; ++filter, packed += panel.width) {
      const T* weight = static_cast<const T*>(args.weight) + filter * strides[0];
      for (int64_t j = 0; j < panel.filled; ++j) {
        const int64_t column = panel.column + j, tap = column / g.c;
        packed[j] =
            weight[column % g.c * strides[1] + tap / g.kw * strides[2] + tap % g.kw * strides[3]];
      }
      std::fill(packed + panel.filled, packed + panel.width, T(0));
    }
  }
}

template <class T>
void col2im(const Conv2dGeometry& g, const Conv2dPlan& plan, const T* grad_y, const T* packed,
            const T* bias, T* grad_x, void* workspace) {
  const Pass pass = make_pass(g, ConvPass::kInputGrad);
  const std::vector<Panel> all = panels<T>(column_count(g));
  const int64_t slots = plan.workspace / (slot_size(g) * sizeof(T));
  const int64_t macs = g.oh * g.ow * g.o * row_size(g);
  const int64_t grain = ceil_div(kGrainMacs, std::max<int64_t>(1, macs));
  const int64_t parts = std::clamp<int64_t>(g.n / grain, 1, slots);
  parallel_for(parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t slot = begin; slot < end; ++slot) {
      T* columns = static_cast<T*>(workspace) + slot * slot_size(g);
      for (int64_t image = split_point(g.n, parts, slot); image < split_point(g.n, parts, slot + 1);
           ++image) {
        product(g, all, grad_y + image * g.oh * g.ow * g.o, packed, columns);
        sum_windows(g, pass, columns, bias, grad_x + image * g.h * g.w * g.c);
      }
    }
  });
}

#define STRIATE_INSTANTIATE(T)                                                                    \
  template bool col2im_pays<T>(const Conv2dGeometry&, ConvPass);                                  \
  template Conv2dPlan col2im_plan<T>(const Conv2dGeometry&);                                      \
  template void col2im_pack<T>(const Conv2dPackArgs&);                                            \
  template void col2im<T>(const Conv2dGeometry&, const Conv2dPlan&, const T*, const T*, const T*, \
                          T*, void*);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
