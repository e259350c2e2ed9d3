// The input gradient as a product and a sum, a row at a time: columns [x of y][kw][c] = the sum
// over the rows of y that reach this row of grad_x, taps of the tile, of grad_y [x][o] x weight
// [o][kw][c]; then every pixel adds up the columns of the windows that it lies in. Nothing outside
// the image is multiplied, which direct convolution does at the ends of each row (LeNet-5's second
// convolution: 1.4 times the work), and the product fills its vectors however few the channels are.
#include "cpu/conv2d_col2im.h"

#include <memory>

#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

// A row's columns stay in part of the L2 cache.
constexpr int64_t kMaxColumnBytes = 262144;
// Loads from there, at odd addresses, cost this many multiply-adds.
constexpr int64_t kSumOps = 4;

int64_t column_count(const Conv2dGeometry& g) { return g.kw * g.c; }

/// Columns with their padding, a whole number of the widest tiles.
int64_t row_size(const Conv2dGeometry& g) {
  return ceil_div(column_count(g), kMaxTileWidth) * kMaxTileWidth;
}

/// The rows of one phase that at least one window covers have taps [first, last).
std::pair<int64_t, int64_t> inside(const Phase& phase, int64_t index, int64_t length) {
  int64_t first = 0, last = static_cast<int64_t>(phase.taps.size());
  while (first < last && index + phase.taps[first].offset < 0) ++first;
  while (first < last && index + phase.taps[last - 1].offset >= length) --last;
  return {first, last};
}

/// Elements that the packed weights of one phase of rows take.
int64_t packed_size(const Conv2dGeometry& g, const Phase& rows) {
  return static_cast<int64_t>(rows.taps.size()) * g.o * row_size(g);
}

/// What one row of grad_x takes: columns with zeros where windows would begin outside of y, so that
/// all pixels of a phase have the same number of terms.
template <class T>
class ColumnRow {
 public:
  ColumnRow(const Conv2dGeometry& g, const Pass& pass)
      : g_(g),
        pass_(pass),
        panels_(panels<T>(column_count(g))),
        size_(row_size(g)),
        before_(pass.source.columns.before),
        // Sums read up to a vector past the last.
        columns_(std::make_unique<T[]>((before_ + g.ow + pass.source.columns.after) * size_ +
                                       kMaxTileWidth)) {}

  /// Row `index` of a phase of an image, from packed weights of the phase.
  void multiply(const Phase& rows, int64_t index, const T* grad_y, const T* packed) {
    const auto [top, bottom] = inside(rows, index, g_.oh);
    offsets_.clear();
    for (int64_t tap = top; tap < bottom; ++tap)
      offsets_.push_back((index + rows.taps[tap].offset) * g_.ow * g_.o);
    const int64_t depth = static_cast<int64_t>(rows.taps.size()) * g_.o;
    for (const Panel& panel : panels_) {
      const TileShape<T>& shape = isa().gemm<T>().shape(column_count(g_) - panel.column);
      const int64_t tiles = ceil_div(g_.ow, shape.rows);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t begin = split_point(g_.ow, tiles, tile);
        const int64_t pixels = split_point(g_.ow, tiles, tile + 1) - begin;
        const T* a[kMaxTileRows];
        T* c[kMaxTileRows];
        for (int64_t p = 0; p < pixels; ++p) {
          a[p] = grad_y + (begin + p) * g_.o;
          c[p] = columns_.get() + (before_ + begin + p) * size_ + panel.column;
        }
        const T* b = packed + panel.column * depth + top * g_.o * panel.width;
        shape.tile[pixels]({a, c, offsets_.data(), bottom - top, g_.o, b, {}, panel.width, {b, 0}});
      }
    }
  }

  void add_up(const T* bias, T* grad_x) const {
    for (const Phase& across : pass_.columns) {
      RowSums<T> sums{columns_.get(),
                      static_cast<int64_t>(across.taps.size()),
                      0,
                      across.count,
                      size_,
                      across.step * g_.c,
                      bias};
      // Neighbouring taps are a constant distance apart: both of its parts are.
      const auto position = [&](const Tap& tap) {
        return (before_ + tap.offset) * size_ + tap.kernel * g_.c;
      };
      if (sums.count > 0) sums.first += position(across.taps[0]);
      if (sums.count > 1) sums.step = position(across.taps[1]) - position(across.taps[0]);
      isa().rows<T>().element.row_sums(sums, g_.c, grad_x + across.start * g_.c);
    }
  }

 private:
  const Conv2dGeometry& g_;
  const Pass& pass_;
  const std::vector<Panel> panels_;
  const int64_t size_, before_;
  const std::unique_ptr<T[]> columns_;
  std::vector<int64_t> offsets_;
};

}  // namespace

template <class T>
bool col2im_pays(const Conv2dGeometry& g, ConvPass pass) {
  if (pass != ConvPass::kInputGrad || g.groups > 1) return false;
  if (g.ow * row_size(g) * static_cast<int64_t>(sizeof(T)) > kMaxColumnBytes) return false;
  int64_t across = 0;  // pairs of a tap and a pixel in a row
  for (const Phase& phase : phases(horizontal(g), pass))
    across += phase.count * static_cast<int64_t>(phase.taps.size());
  const int64_t direct = g.oh * g.kh * across * g.o * vector_registers<T>(g.c);
  const int64_t multiply = g.oh * g.kh * g.ow * g.o * vector_registers<T>(column_count(g));
  const int64_t sum = g.h * across * vector_registers<T>(g.c) * kSumOps;
  return 5 * (multiply + sum) < 4 * direct;
}

template <class T>
Conv2dPlan col2im_plan(const Conv2dGeometry& g) {
  return {kCol2im, g.kh * g.o * row_size(g) * sizeof(T), 0};
}

template <class T>
void col2im_pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t* strides = args.weight_strides;
  T* of_phase = static_cast<T*>(args.packed);
  for (const Phase& rows : phases(vertical(g), ConvPass::kInputGrad)) {
    T* packed = of_phase;
    for (const Panel& panel : panels<T>(column_count(g))) {
      for (const Tap& row : rows.taps) {
        for (int64_t filter = 0; filter < g.o; ++filter, packed += panel.width) {
          const T* weight =
              static_cast<const T*>(args.weight) + filter * strides[0] + row.kernel * strides[2];
          for (int64_t j = 0; j < panel.filled; ++j) {
            const int64_t column = panel.column + j;
            packed[j] = weight[column % g.c * strides[1] + column / g.c * strides[3]];
          }
          std::fill(packed + panel.filled, packed + panel.width, T(0));
        }
      }
    }
    of_phase += packed_size(g, rows);
  }
}

template <class T>
void col2im(const Conv2dGeometry& g, const T* grad_y, const T* packed, const T* bias, T* grad_x) {
  const Pass pass = make_pass(g, ConvPass::kInputGrad);
  std::vector<const T*> packed_of;  // each phase of rows
  for (const Phase& rows : pass.rows) {
    packed_of.push_back(packed);
    packed += packed_size(g, rows);
  }
  const int64_t macs = g.oh * g.kh * g.ow * g.o * row_size(g) / g.h;  // of a row
  const int64_t grain = ceil_div(kGrainMacs, std::max<int64_t>(1, macs));
  parallel_for(g.n * g.h, grain, [&](int64_t begin, int64_t end) {
    ColumnRow<T> columns(g, pass);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / g.h, y = i % g.h, phase = y % g.stride_h;
      columns.multiply(pass.rows[phase], y / g.stride_h, grad_y + image * g.oh * g.ow * g.o,
                       packed_of[phase]);
      columns.add_up(bias, grad_x + i * g.w * g.c);
    }
  });
}

#define STRIATE_INSTANTIATE(T)                                   \
  template bool col2im_pays<T>(const Conv2dGeometry&, ConvPass); \
  template Conv2dPlan col2im_plan<T>(const Conv2dGeometry&);     \
  template void col2im_pack<T>(const Conv2dPackArgs&);           \
  template void col2im<T>(const Conv2dGeometry&, const T*, const T*, const T*, T*);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
