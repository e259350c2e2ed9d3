// The input gradient as a product and a sum: a row of y gives columns [x of y][ky][kw][c] = grad_y
// [x][o] x weight [o][ky][kw][c], then every pixel adds up the columns of the windows that it lies
// in. Nothing outside the image is multiplied, which direct convolution does at the ends of each
// row (LeNet-5's second convolution: 1.4 times the work), and the product fills its vectors however
// few the channels are. Where one row of the kernel fills them already, the product also sums over
// the rows of y that reach a row of grad_x, [x of y][kw][c], which leaves less to add up.
#include <memory>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

// Columns stay in part of the L2 cache.
constexpr int64_t kMaxColumnBytes = 524288;
// What a load from there, at an odd address, costs beside step_cost.
constexpr int64_t kSumCost = 16;

/// What a step of the tiles of `columns` costs, 8 for one of two vectors. One vector waits for the
/// loads of its factors, which only 512 bits outlast.
template <class T>
int64_t step_cost(int64_t columns) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  const int64_t lanes = gemm.shapes[gemm.count - 1].width / 2;
  const bool long_vectors = lanes * sizeof(T) == 64;
  int64_t result = 0;
  for (const Panel& panel : panels<T>(columns)) {
    const int64_t alone = !long_vectors ? 6 : panel.width == lanes ? 4 : 3;
    result += panel.width > lanes ? 8 : alone;
  }
  return result;
}

template <class T>
struct Layout {
  bool tall;        // columns have all rows of the kernel
  int64_t columns;  // of a pixel of y
  int64_t size;     // with their padding, a whole number of the widest tiles
  int64_t depth;    // of all products that a pixel of y takes part in
  int64_t slots;    // rows of columns that are needed at a time
  int64_t cost;     // of an image, in those of step_cost

  Layout(const Conv2dGeometry& g, bool tall)
      : tall(tall),
        columns((tall ? g.kh : 1) * g.kw * g.c),
        size(ceil_div(columns, kMaxTileWidth) * kMaxTileWidth),
        depth((tall ? 1 : g.kh) * g.o),
        slots(tall ? (g.kh - 1) * g.dilation_h / g.stride_h + 1 : 1) {
    const int64_t sums = (tall ? g.h * g.kh / g.stride_h : g.h) * (g.w * g.kw / g.stride_w);
    cost = g.oh * g.ow * depth * step_cost<T>(columns) + sums * vector_registers<T>(g.c) * kSumCost;
  }

  bool fits(const Conv2dGeometry& g) const {
    return slots * g.ow * size * static_cast<int64_t>(sizeof(T)) <= kMaxColumnBytes;
  }
  /// What is multiplied at once: rows of y with themselves, or those that reach a row of grad_x.
  std::vector<Phase> products(const Conv2dGeometry& g) const {
    if (tall) return {{g.oh, 0, 1, 1, {{0, 0}}}};
    return phases(vertical(g), ConvPass::kInputGrad);
  }
  /// Elements of the packed weights of one of them.
  int64_t packed_size(const Conv2dGeometry& g, const Phase& product) const {
    return static_cast<int64_t>(product.taps.size()) * g.o * size;
  }
};

template <class T>
Layout<T> best_layout(const Conv2dGeometry& g) {
  const Layout<T> tall(g, true), flat(g, false);
  return tall.fits(g) && tall.cost < flat.cost ? tall : flat;
}

/// The rows of one phase that at least one window covers have taps [first, last).
std::pair<int64_t, int64_t> inside(const Phase& phase, int64_t index, int64_t length) {
  int64_t first = 0, last = static_cast<int64_t>(phase.taps.size());
  while (first < last && index + phase.taps[first].offset < 0) ++first;
  while (first < last && index + phase.taps[last - 1].offset >= length) --last;
  return {first, last};
}

/// Rows of grad_x, one after the other, and the rows of columns that they are made from: with zeros
/// where windows would begin outside of y, so that all pixels of a phase have as many terms.
template <class T>
class ColumnRows {
 public:
  ColumnRows(const Conv2dGeometry& g, const Pass& pass, const Layout<T>& layout)
      : g_(g),
        pass_(pass),
        layout_(layout),
        panels_(panels<T>(layout.columns)),
        before_(pass.source.columns.before),
        slot_((before_ + g.ow + pass.source.columns.after) * layout.size),
        // Sums read up to a vector past the last.
        columns_(std::make_unique<T[]>(layout.slots * slot_ + kMaxTileWidth)) {}

  /// Before row y of an image, unless the one before it was the last.
  void start(int64_t y) {
    const int64_t reach = (g_.kh - 1) * g_.dilation_h;
    next_ = ceil_div(std::max<int64_t>(0, y + g_.pad_h - reach), g_.stride_h);
  }

  /// Row y of an image, from packed weights of each product.
  void make(int64_t y, const T* grad_y, const std::vector<const T*>& packed, const T* bias,
            T* grad_x) {
    const int64_t index = y / g_.stride_h, phase = y % g_.stride_h;
    const std::vector<Tap>& taps = pass_.rows[phase].taps;
    const auto [top, bottom] = inside(pass_.rows[phase], index, g_.oh);
    first_.clear();
    if (layout_.tall) {
      for (int64_t tap = top; tap < bottom; ++tap) {
        const int64_t row = index + taps[tap].offset;
        for (; next_ <= row; ++next_) multiply({{0, 0}}, 0, 1, next_, grad_y, packed[0]);
        first_.push_back(slot(row) + taps[tap].kernel * g_.kw * g_.c);
      }
    } else {
      multiply(taps, top, bottom, index, grad_y, packed[phase]);
      first_.push_back(slot(index));
    }
    add_up(bias, grad_x);
  }

 private:
  T* slot(int64_t row) const { return columns_.get() + row % layout_.slots * slot_; }

  /// Columns `index`: the sum over taps [top, bottom) of rows of y.
  void multiply(const std::vector<Tap>& taps, int64_t top, int64_t bottom, int64_t index,
                const T* grad_y, const T* packed) {
    offsets_.clear();
    for (int64_t tap = top; tap < bottom; ++tap)
      offsets_.push_back((index + taps[tap].offset) * g_.ow * g_.o);
    const int64_t depth = static_cast<int64_t>(taps.size()) * g_.o;
    // Pixels come from memory. Those of the next tile would be late: its rows begin all at once.
    const int64_t ahead = offsets_.empty() ? 0 : offsets_.back() + 2 * kMaxTileRows * g_.o;
    T* columns = slot(index) + before_ * layout_.size;
    for (const Panel& panel : panels_) {
      const TileShape<T>& shape = isa().gemm<T>().shape(layout_.columns - panel.column);
      const int64_t tiles = ceil_div(g_.ow, shape.rows);
      const T* b = packed + panel.column * depth + top * g_.o * panel.width;
      for (int64_t tile = 0, begin = 0, pixels; tile < tiles; ++tile, begin += pixels) {
        pixels = split_point(g_.ow, tiles, tile + 1) - begin;
        const T* a[kMaxTileRows];
        T* c[kMaxTileRows];
        for (int64_t p = 0; p < pixels; ++p) {
          a[p] = grad_y + (begin + p) * g_.o;
          c[p] = columns + (begin + p) * layout_.size + panel.column;
        }
        const Ahead<T> next{a[0] + ahead, pixels};
        shape.tile[pixels]({a, c, offsets_.data(), bottom - top, g_.o, b, {}, panel.width, next});
      }
    }
  }

  void add_up(const T* bias, T* grad_x) const {
    for (const Phase& across : pass_.columns) {
      RowSums<T> sums{first_.data(),
                      static_cast<int64_t>(first_.size()),
                      0,
                      static_cast<int64_t>(across.taps.size()),
                      0,
                      across.count,
                      layout_.size,
                      across.step * g_.c,
                      bias};
      // Neighbouring taps are a constant distance apart: both of its parts are.
      const auto position = [&](const Tap& tap) {
        return (before_ + tap.offset) * layout_.size + tap.kernel * g_.c;
      };
      if (sums.count > 0) sums.offset = position(across.taps[0]);
      if (sums.count > 1) sums.step = position(across.taps[1]) - sums.offset;
      isa().rows<T>().element.row_sums(sums, g_.c, grad_x + across.start * g_.c);
    }
  }

  const Conv2dGeometry& g_;
  const Pass& pass_;
  const Layout<T>& layout_;
  const std::vector<Panel> panels_;
  const int64_t before_, slot_;
  const std::unique_ptr<T[]> columns_;
  int64_t next_ = 0;  // row of y that has no columns yet
  std::vector<int64_t> offsets_;
  std::vector<const T*> first_;
};

template <class T>
bool pays(const Conv2dGeometry& g, ConvPass pass) {
  if (pass != ConvPass::kInputGrad || g.groups > 1) return false;
  const Layout<T> layout = best_layout<T>(g);
  const int64_t direct = g.oh * g.kh * (g.w * g.kw / g.stride_w) * g.o * step_cost<T>(g.c);
  return layout.fits(g) && 4 * layout.cost < 3 * direct;
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass) {
  const Layout<T> layout = best_layout<T>(g);
  return {0, layout.depth * layout.size * sizeof(T), 0};
}

template <class T>
void pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t* strides = args.weight_strides;
  const Layout<T> layout = best_layout<T>(g);
  std::vector<int64_t> offsets(layout.columns);  // of each column in a filter
  for (int64_t j = 0; j < layout.columns; ++j) {
    const int64_t tap = j / g.c;
    offsets[j] = j % g.c * strides[1] + tap / g.kw * strides[2] + tap % g.kw * strides[3];
  }
  T* of_product = static_cast<T*>(args.packed);
  for (const Phase& rows : layout.products(g)) {
    T* packed = of_product;
    for (const Panel& panel : panels<T>(layout.columns)) {
      for (const Tap& row : rows.taps) {
        for (int64_t filter = 0; filter < g.o; ++filter, packed += panel.width) {
          const T* weight =
              static_cast<const T*>(args.weight) + filter * strides[0] + row.kernel * strides[2];
          for (int64_t j = 0; j < panel.filled; ++j) packed[j] = weight[offsets[panel.column + j]];
          std::fill(packed + panel.filled, packed + panel.width, T(0));
        }
      }
    }
    of_product += layout.packed_size(g, rows);
  }
}

template <class T>
void run(const ConvCall<T>& call) {
  const Conv2dGeometry& g = call.g;
  const T* packed = static_cast<const T*>(call.packed);
  const Pass pass = make_pass(g, ConvPass::kInputGrad);
  const Layout<T> layout = best_layout<T>(g);
  std::vector<const T*> packed_of;  // each product
  for (const Phase& rows : layout.products(g)) {
    packed_of.push_back(packed);
    packed += layout.packed_size(g, rows);
  }
  const int64_t macs = g.oh * g.ow * layout.depth * layout.size / g.h;  // of a row
  // A range of rows starts with columns that another one has, too.
  const int64_t grain =
      std::max(layout.tall ? 8 * g.kh : 1, ceil_div(kGrainMacs, std::max<int64_t>(1, macs)));
  parallel_for(g.n * g.h, grain, [&](int64_t begin, int64_t end) {
    ColumnRows<T> rows(g, pass, layout);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / g.h, y = i % g.h;
      if (i == begin || y == 0) rows.start(y);
      rows.make(y, call.x + image * g.oh * g.ow * g.o, packed_of, call.epilogue.bias,
                call.y + i * g.w * g.c);
    }
  });
}

}  // namespace

template <class T>
ConvAlgorithm<T> col2im_algorithm() {
  return {"col2im", pays<T>, plan<T>, pack<T>, run<T>, nullptr};
}
template ConvAlgorithm<float> col2im_algorithm();
template ConvAlgorithm<double> col2im_algorithm();

}  // namespace striate::cpu
