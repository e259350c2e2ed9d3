// Convolution with one thread per result: any type, any size. It runs float64, few channels per
// group (depthwise above all), tiny problems, and tensors beyond 32-bit indices. Neighbouring
// threads compute neighbouring channels, so that their reads of images, gradients and weights are
// neighbours too.
#include "conv_kernels.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

template <class Index>
struct DirectShape {
  GatherAxis<Index> rows, columns;
  Index images, groups, channels, filters;  // per group: summed over, computed
};

template <class T>
__device__ void multiply_add(float& sum, T a, T b) {
  sum = fmaf(convert<float>(a), convert<float>(b), sum);
}
__device__ void multiply_add(double& sum, double a, double b) { sum = fma(a, b, sum); }

template <class T, class Index>
__global__ void gather_direct_kernel(DirectShape<Index> shape, const T* source, const T* weight,
                                     Epilogue<T> epilogue, int64_t results) {
  const GatherAxis<Index>&rows = shape.rows, &columns = shape.columns;
  const Index width = shape.groups * shape.filters, depth = shape.groups * shape.channels;
  for_each_item(results, [&](int64_t item) {
    Index rest = static_cast<Index>(item);
    const Index filter = rest % width;
    rest /= width;
    const Index column = rest % columns.result;
    rest /= columns.result;
    const Index row = rest % rows.result, image = rest / rows.result;
    const Index first_row = row / rows.phases * rows.source_step;
    const Index first_column = column / columns.phases * columns.source_step;
    const PhaseTaps<Index> row_taps = phase_taps(rows, row % rows.phases);
    const PhaseTaps<Index> column_taps = phase_taps(columns, column % columns.phases);
    const T* const group = source + filter / shape.filters * shape.channels;
    Sum<T> sum = 0;
    for (Index i = 0; i < row_taps.count; ++i) {
      const Index y = first_row + row_taps.offset + i * rows.offset_step;
      if (y < 0 || y >= rows.source) continue;
      const Index kernel_row = row_taps.kernel + i * rows.kernel_step;
      for (Index j = 0; j < column_taps.count; ++j) {
        const Index x = first_column + column_taps.offset + j * columns.offset_step;
        if (x < 0 || x >= columns.source) continue;
        const Index kernel_column = column_taps.kernel + j * columns.kernel_step;
        const T* pixel = group + ((image * rows.source + y) * columns.source + x) * depth;
        const T* tap = weight +
                       (kernel_row * columns.kernel + kernel_column) * shape.channels * width +
                       filter;
        for (Index c = 0; c < shape.channels; ++c) multiply_add(sum, pixel[c], tap[c * width]);
      }
    }
    epilogue.y[item] = finish(epilogue, sum, item, filter);
  });
}

template <class Index>
struct DirectWeightGradShape {
  Index images, h, w, oh, ow, kh, kw;
  Index stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  Index groups, channels, filters;  // per group
  Index splits;
};

/// Items are (split, kh, kw, channel, filter), the filter innermost; each sums over the pixels of
/// its split.
template <class T, class Index>
__global__ void weight_grad_direct_kernel(DirectWeightGradShape<Index> s, const T* x,
                                          const T* grad_y, Epilogue<T> epilogue, int64_t items) {
  for_each_item(items, [&](int64_t item) {
    const Index width = s.groups * s.filters, depth = s.groups * s.channels;
    Index rest = static_cast<Index>(item);
    const Index filter = rest % width;
    rest /= width;
    const Index channel = rest % s.channels;
    rest /= s.channels;
    const Index kernel_column = rest % s.kw;
    rest /= s.kw;
    const Index kernel_row = rest % s.kh, split = rest / s.kh;
    const int64_t pixels = int64_t{s.images} * s.oh * s.ow;
    const int64_t first = pixels * split / s.splits, last = pixels * (split + 1) / s.splits;

    Index column = static_cast<Index>(first % s.ow), row = static_cast<Index>(first / s.ow % s.oh);
    const T* image = x + static_cast<Index>(first / s.ow / s.oh) * (s.h * s.w * depth) +
                     filter / s.filters * s.channels + channel;
    const T* grad = grad_y + first * width + filter;
    Sum<T> sum = 0;
    for (int64_t pixel = first; pixel < last; ++pixel, grad += width) {
      const Index y = row * s.stride_h + kernel_row * s.dilation_h - s.pad_h;
      const Index at = column * s.stride_w + kernel_column * s.dilation_w - s.pad_w;
      if (y >= 0 && y < s.h && at >= 0 && at < s.w) {
        multiply_add(sum, image[(y * s.w + at) * depth], *grad);
      }
      if (++column < s.ow) continue;
      column = 0;
      if (++row < s.oh) continue;
      row = 0;
      image += s.h * s.w * depth;
    }
    const int64_t offset =
        ((int64_t{filter} * s.kh + kernel_row) * s.kw + kernel_column) * s.channels + channel;
    if (epilogue.partial != nullptr) {
      epilogue.partial[split * (items / s.splits) + offset] = sum;
    } else {
      epilogue.y[offset] = convert<T>(sum);
    }
  });
}

// --- Launchers ----------------------------------------------------------------------------------

/// Calls body with a zero of the index type that all offsets of the pass fit into, borders
/// included.
template <class Body>
void with_index(const Conv2dGeometry& g, int32_t splits, const Body& body) {
  const double height = 1.0 * static_cast<double>(g.h + g.oh * g.stride_h + 2 * g.pad_h +
                                                  g.kh * g.dilation_h + g.stride_h);
  const double width = 1.0 * static_cast<double>(g.w + g.ow * g.stride_w + 2 * g.pad_w +
                                                 g.kw * g.dilation_w + g.stride_w);
  const double image = height * width * static_cast<double>(std::max(g.c, g.o));
  const double weight = static_cast<double>(g.o) * static_cast<double>(g.kh * g.kw) *
                        static_cast<double>(g.c) * splits;
  if (image * static_cast<double>(g.n) < 2e9 && weight < 2e9) {
    body(int32_t{0});
  } else {
    body(int64_t{0});
  }
}

}  // namespace

template <class T>
void gather_direct(const Conv2dGeometry& g, ConvPass pass, const ConvOperands<T>& operands,
                   const Epilogue<T>& epilogue, Stream stream) {
  with_index(g, 1, [&](auto zero) {
    using Index = decltype(zero);
    const DirectShape<Index> shape{vertical_axis<Index>(g, pass),
                                   horizontal_axis<Index>(g, pass),
                                   static_cast<Index>(g.n),
                                   static_cast<Index>(g.groups),
                                   static_cast<Index>(source_channels(g, pass)),
                                   static_cast<Index>(result_channels(g, pass))};
    const int64_t results = int64_t{shape.images} * shape.rows.result * shape.columns.result *
                            shape.groups * shape.filters;
    launch_items("conv2d", gather_direct_kernel<T, Index>, results, stream, shape, operands.source,
                 operands.other, epilogue, results);
  });
}

template <class T>
void weight_grad_direct(const Conv2dGeometry& g, int32_t splits, const ConvOperands<T>& operands,
                        const Epilogue<T>& epilogue, Stream stream) {
  with_index(g, splits, [&](auto zero) {
    using Index = decltype(zero);
    const auto narrow = [](int64_t value) { return static_cast<Index>(value); };
    const DirectWeightGradShape<Index> shape{narrow(g.n),
                                             narrow(g.h),
                                             narrow(g.w),
                                             narrow(g.oh),
                                             narrow(g.ow),
                                             narrow(g.kh),
                                             narrow(g.kw),
                                             narrow(g.stride_h),
                                             narrow(g.stride_w),
                                             narrow(g.pad_h),
                                             narrow(g.pad_w),
                                             narrow(g.dilation_h),
                                             narrow(g.dilation_w),
                                             narrow(g.groups),
                                             narrow(g.c / g.groups),
                                             narrow(g.o / g.groups),
                                             narrow(splits)};
    const int64_t items = g.o * g.kh * g.kw * (g.c / g.groups) * splits;
    launch_items("conv2d_weight_grad", weight_grad_direct_kernel<T, Index>, items, stream, shape,
                 operands.source, operands.other, epilogue, items);
  });
}

#define STRIATE_INSTANTIATE(T)                                                                \
  template void gather_direct<T>(const Conv2dGeometry&, ConvPass, const ConvOperands<T>&,     \
                                 const Epilogue<T>&, Stream);                                 \
  template void weight_grad_direct<T>(const Conv2dGeometry&, int32_t, const ConvOperands<T>&, \
                                      const Epilogue<T>&, Stream);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(double)
STRIATE_INSTANTIATE(__nv_bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cuda
