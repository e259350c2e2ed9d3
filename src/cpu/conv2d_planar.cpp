// Convolution with few filters, forward and weight gradient, over the tiles of isa/planar.h.
//
// A band of result rows at a time, what it reads of the source is copied to planes in the L1 cache:
// [row][channel][phase][columns], where the phases of a stride hold every stride-th column, so that
// neighbouring result pixels read neighbouring values. The copy has the border. One channel without
// a border or a stride is such planes already and read in place.
#include <algorithm>
#include <memory>
#include <vector>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pass.h"

namespace striate::cpu {
namespace {

constexpr int64_t kBandBytes = 28 << 10;  // of an L1 cache of 32 KiB

template <class T>
struct Layout {
  const Conv2dGeometry& g;
  int64_t lanes = isa().planar<T>().lanes;
  bool in_place = g.c == 1 && g.stride_w == 1 && g.pad_h + g.pad_w == 0;
  int64_t columns = ceil_div(g.ow, lanes) * lanes;  // of a result row
  int64_t plane =                                   // of a source row
      in_place ? g.w : columns + (g.kw - 1) * g.dilation_w / g.stride_w;
  int64_t row = g.c * g.stride_w * plane;
  int64_t taps = g.kh * g.kw * g.c;
  int64_t bands;  // of an image

  /// Bands for which each result row takes `more` values besides the source.
  Layout(const Conv2dGeometry& geometry, int64_t more) : g(geometry) {
    const int64_t bytes = (g.stride_h * row + more) * int64_t{sizeof(T)};
    const int64_t wanted = std::min(kBandBytes / bytes, ceil_div(g.n * g.oh, kMinUnits));
    // Fewer rows than a kernel has would copy the source several times.
    bands = std::max<int64_t>(1, ceil_div(g.oh, std::max(wanted, g.kh)));
  }

  int64_t units() const { return g.n * bands; }
  int64_t first_row(int64_t unit) const { return split_point(g.oh, bands, unit % bands); }
  int64_t rows(int64_t unit) const {
    return split_point(g.oh, bands, unit % bands + 1) - first_row(unit);
  }
  int64_t source_rows(int64_t result_rows) const {
    return (result_rows - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1;
  }
  /// With what a vector reads behind the last row.
  int64_t source_size() const { return source_rows(ceil_div(g.oh, bands)) * row + lanes; }
  int64_t macs() const { return g.oh * g.ow * taps * g.o / bands; }

  /// Offsets in the planes by kernel row, kernel column and channel, as in a stored weight.
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> result;
    for (int64_t ky = 0; ky < g.kh; ++ky)
      for (int64_t kx = 0; kx < g.kw; ++kx)
        for (int64_t c = 0; c < g.c; ++c) {
          const int64_t x = kx * g.dilation_w;
          result.push_back(ky * g.dilation_h * row + (c * g.stride_w + x % g.stride_w) * plane +
                           x / g.stride_w);
        }
    return result;
  }

  /// What a unit reads of x; in `planes`, if it must be copied or vectors would read past the end.
  const T* source(const T* x, int64_t unit, T* planes) const {
    const int64_t first = (unit / bands * g.h + first_row(unit) * g.stride_h) * row;
    const int64_t size = source_rows(rows(unit)) * row + lanes;
    if (in_place && first + size <= g.n * g.h * row) return x + first;
    copy_source(x, unit, planes);
    return planes;
  }

  /// The same, copied: columns outside the image are zero.
  void copy_source(const T* x, int64_t unit, T* planes) const {
    const int64_t top = first_row(unit) * g.stride_h - g.pad_h, count = source_rows(rows(unit));
    for (int64_t y = top; y < top + count; ++y, planes += row) {
      if (y < 0 || y >= g.h) {
        std::fill_n(planes, row, T(0));
        continue;
      }
      const T* from = x + (unit / bands * g.h + y) * g.w * g.c;
      T* to = planes;
      for (int64_t c = 0; c < g.c; ++c) {
        for (int64_t phase = 0; phase < g.stride_w; ++phase, to += plane) {
          const int64_t shift = g.pad_w - phase;  // source column i * stride_w - shift
          const int64_t first =
              std::clamp(ceil_div(std::max<int64_t>(shift, 0), g.stride_w), int64_t{0}, plane);
          const int64_t last =
              std::clamp(ceil_div(std::max<int64_t>(g.w + shift, 0), g.stride_w), first, plane);
          if (g.c * g.stride_w == 1) {
            std::copy_n(from + first - shift, last - first, to + first);
          } else {
            for (int64_t i = first; i < last; ++i) to[i] = from[(i * g.stride_w - shift) * g.c + c];
          }
        }
      }
    }
  }
};

/// Vector operations for a row of the result, with what it takes to arrange its operands; a value
/// that is copied by itself costs as much as three.
template <class T>
int64_t row_cost(const Conv2dGeometry& g) {
  const int64_t vectors = ceil_div(g.ow, isa().planar<T>().lanes);
  const int64_t copied = g.c * g.stride_w == 1 ? vectors : 3 * g.c * g.w;
  return vectors * g.o * (g.kh * g.kw * g.c + g.o - 1) + copied * g.stride_h;
}

/// Whether it takes fewer vector operations than the tile of isa/gemm.h, which has filters (of a
/// weight gradient: columns of the kernel) in the lanes.
template <class T>
bool pays(const Conv2dGeometry& g, ConvPass pass) {
  if (pass == ConvPass::kInputGrad || g.groups > 1 || g.o > isa().planar<T>().max_filters)
    return false;
  const int64_t pixels = g.ow * g.kh;
  if (pass == ConvPass::kForward)
    return 5 * row_cost<T>(g) < 4 * pixels * g.kw * g.c * vector_registers<T>(g.o);
  const bool merged = g.kw == 1 || g.dilation_w == 1;
  const int64_t registers =
      merged ? vector_registers<T>(g.kw * g.c) : g.kw * vector_registers<T>(g.c);
  return 5 * row_cost<T>(g) < 4 * pixels * g.o * registers;
}

template <class T>
Conv2dPlan plan(const Conv2dGeometry& g, ConvPass pass) {
  const Layout<T> layout(g, 0);
  const int64_t weight = layout.taps * g.o * int64_t{sizeof(T)};
  if (pass == ConvPass::kForward) return {0, static_cast<size_t>(weight), 0};
  return {0, 0, static_cast<size_t>(kMinUnits * weight * layout.lanes)};
}

template <class T>
void pack(const Conv2dPackArgs& args) {
  const Conv2dGeometry& g = args.g;
  const int64_t* strides = args.weight_strides;
  const T* weight = static_cast<const T*>(args.weight);
  T* packed = static_cast<T*>(args.packed);
  for (int64_t ky = 0; ky < g.kh; ++ky)
    for (int64_t kx = 0; kx < g.kw; ++kx)
      for (int64_t c = 0; c < g.c; ++c)
        for (int64_t o = 0; o < g.o; ++o)
          *packed++ = weight[o * strides[0] + c * strides[1] + ky * strides[2] + kx * strides[3]];
}

template <class T>
void forward(const ConvCall<T>& call) {
  const Conv2dGeometry& g = call.g;
  const Layout<T> layout(g, 0);
  const PlanarTile<T>& tile = isa().planar<T>().tiles[g.o];
  const std::vector<int64_t> taps = layout.offsets();
  const T* packed = static_cast<const T*>(call.packed);
  Epilogue<T> cached = call.epilogue;
  cached.stream = false;
  parallel_for(layout.units(), ceil_div(kGrainMacs, std::max<int64_t>(1, layout.macs())),
               [&](int64_t begin, int64_t end) {
                 const auto planes = std::make_unique<T[]>(layout.source_size());
                 std::vector<PixelVector<T>> pixels;
                 for (int64_t unit = begin; unit < end; ++unit) {
                   const T* source = layout.source(call.x, unit, planes.get());
                   pixels.clear();
                   for (int64_t row = 0; row < layout.rows(unit); ++row)
                     for (int64_t i = 0; i < g.ow; i += layout.lanes)
                       pixels.push_back({source + row * g.stride_h * layout.row + i,
                                         (row * g.ow + i) * g.o, std::min(layout.lanes, g.ow - i)});
                   while (pixels.size() % tile.vectors != 0) pixels.push_back({source, 0, 0});
                   T* target =
                       call.y + (unit / layout.bands * g.oh + layout.first_row(unit)) * g.ow * g.o;
                   for (size_t i = 0; i < pixels.size(); i += tile.vectors)
                     tile.tile({&pixels[i], target, taps.data(), layout.taps, packed, cached});
                 }
               });
}

template <class T>
void weight_grad(const Conv2dWeightGradArgs& args) {
  const Conv2dGeometry& g = args.g;
  const Layout<T> layout(g, g.ow * g.o);
  const PlanarTile<T>& tile = isa().planar<T>().tiles[g.o];
  const std::vector<int64_t> taps = layout.offsets();
  const T *x = static_cast<const T*>(args.x), *grad_y = static_cast<const T*>(args.grad_y);
  T* sums = static_cast<T*>(args.workspace);  // [split][taps][filters][lanes]
  const int64_t of_tap = g.o * layout.lanes, size = layout.taps * of_tap;
  const int64_t groups = ceil_div(layout.taps, int64_t{tile.taps});
  const int64_t plane = ceil_div(ceil_div(g.oh, layout.bands) * g.ow, layout.lanes) * layout.lanes;
  const int64_t splits =
      std::clamp<int64_t>(layout.units(), 1, kMinUnits);  // by the geometry alone

  const auto add_unit = [&](int64_t unit, T* planes, T* grads, T* sum) {
    const T* source = layout.source(x, unit, planes);
    const int64_t rows = layout.rows(unit);
    const int64_t first_pixel = (unit / layout.bands * g.oh + layout.first_row(unit)) * g.ow;
    tile.split(grad_y + first_pixel * g.o, rows * g.ow, grads, plane);
    for (int64_t group = 0; group < groups; ++group) {
      const int64_t first = split_point(layout.taps, groups, group);
      const int64_t count = split_point(layout.taps, groups, group + 1) - first;
      tile.grad[count]({source, grads, plane, rows, g.ow, g.stride_h * layout.row,
                        taps.data() + first, sum + first * of_tap});
    }
  };
  const int64_t macs = std::max<int64_t>(1, layout.macs() * layout.units() / splits);
  parallel_for(splits, ceil_div(kGrainMacs, macs), [&](int64_t begin, int64_t end) {
    const auto planes = std::make_unique<T[]>(layout.source_size());
    const auto grads = std::make_unique_for_overwrite<T[]>(g.o * plane + layout.lanes);
    for (int64_t split = begin; split < end; ++split) {
      T* sum = sums + split * size;
      std::fill_n(sum, size, T(0));
      const int64_t last = split_point(layout.units(), splits, split + 1);
      for (int64_t unit = split_point(layout.units(), splits, split); unit < last; ++unit)
        add_unit(unit, planes.get(), grads.get(), sum);
    }
  });

  T* grad_weight = static_cast<T*>(args.grad_weight);
  const auto accumulate = isa().rows<T>().element.accumulate;
  parallel_for(layout.taps, grain_for(splits * of_tap), [&](int64_t begin, int64_t end) {
    T* sum = sums + begin * of_tap;
    for (int64_t split = 1; split < splits; ++split)
      accumulate((end - begin) * of_tap, sum + split * size, sum);
    for (int64_t tap = begin; tap < end; ++tap) {
      for (int64_t filter = 0; filter < g.o; ++filter, sum += layout.lanes) {
        for (int64_t half = layout.lanes / 2; half > 0; half /= 2)
          for (int64_t lane = 0; lane < half; ++lane) sum[lane] += sum[lane + half];
        grad_weight[filter * layout.taps + tap] = sum[0];
      }
    }
  });
}

}  // namespace

template <class T>
ConvAlgorithm<T> planar_algorithm() {
  return {"planar", pays<T>, plan<T>, pack<T>, forward<T>, weight_grad<T>, true};
}
template ConvAlgorithm<float> planar_algorithm();
template ConvAlgorithm<double> planar_algorithm();

}  // namespace striate::cpu
