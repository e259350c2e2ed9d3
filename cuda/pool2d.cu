// Pooling over x [n][h][w][c]. A thread has one window, or in the backward passes one input pixel,
// of 16 bytes of channels. The backward passes gather from the windows that cover the pixel, so
// that nothing is added twice to one address. Bound by memory.
#include <cmath>

#include "entries.h"
#include "vector.cuh"
#include "window.h"

namespace striate::cuda {
namespace {

// --- Geometry -----------------------------------------------------------------------------------

template <class Index>
struct Plane {
  WindowAxis<Index> rows, columns;
  Index c, vectors;  // channels, and vectors of them
  Index items;       // threads' work: vectors of all output or all input pixels
};

/// A vector of channels of one pixel.
template <class Index>
struct Place {
  Index image, row, column, channel;
};

template <int kWidth, class Index>
__device__ Place<Index> place_of(Index item, Index height, Index width, Index vectors) {
  const Index pixel = item / vectors, line = pixel / width, image = line / height;
  return {image, line - image * height, pixel - line * width, (item - pixel * vectors) * kWidth};
}

// --- Kernels ------------------------------------------------------------------------------------

/// Of equals the first wins, as does the first NaN. Written so that `best` stays unless beaten.
template <class C>
__device__ bool stays(C best, C candidate) {
  return candidate <= best || best != best;
}

template <int kWidth, class T, class Index>
__global__ void max_pool2d_kernel(Plane<Index> g, bool relu, const T* x, T* y, int32_t* argmax) {
  for_each_item<1>(g.items, [&](Index item) {
    const auto at = place_of<kWidth>(item, g.rows.outputs, g.columns.outputs, g.vectors);
    const Window<Index> rows = window_at(g.rows, at.row);
    const Window<Index> columns = window_at(g.columns, at.column);
    const Index image = at.image * g.rows.size;
    Vector<Compute<T>, kWidth> best;
    Vector<int32_t, kWidth> index;
    for (int k = 0; k < kWidth; ++k) {
      best.lane[k] = -INFINITY;
      index.lane[k] = -1;
    }
    for (Index i = 0; i < rows.count; ++i) {
      const Index row = rows.first + i * rows.step;
      for (Index j = 0; j < columns.count; ++j) {
        const Index column = columns.first + j * columns.step;
        const Index pixel = (image + row) * g.columns.size + column;
        const auto v = load<kWidth>(x + pixel * g.c + at.channel);
        const auto position = static_cast<int32_t>(row * g.columns.size + column);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (index.lane[k] >= 0 && stays(best.lane[k], v.lane[k])) continue;
          best.lane[k] = v.lane[k];
          index.lane[k] = position;
        }
      }
    }
    for (int k = 0; relu && k < kWidth; ++k) {
      if (!(best.lane[k] <= 0)) continue;
      best.lane[k] = 0;
      index.lane[k] = -1;
    }
    const Index target = item * kWidth;  // dense, so the item's number times its size
    store(y + target, best);
    if (argmax != nullptr) store(argmax + target, index);
  });
}

template <int kWidth, class T, class Index>
__global__ void max_pool2d_backward_kernel(Plane<Index> g, const T* grad_y, const int32_t* argmax,
                                           T* grad_x) {
  for_each_item<1>(g.items, [&](Index item) {
    const auto at = place_of<kWidth>(item, g.rows.size, g.columns.size, g.vectors);
    const OutputRange<Index> rows = windows_across(g.rows, at.row);
    const OutputRange<Index> columns = windows_across(g.columns, at.column);
    const auto position = static_cast<int32_t>(at.row * g.columns.size + at.column);
    Vector<Compute<T>, kWidth> sum = {};
    for (Index row = rows.begin; row < rows.end; ++row) {
      for (Index column = columns.begin; column < columns.end; ++column) {
        const Index pixel = (at.image * g.rows.outputs + row) * g.columns.outputs + column;
        const Index source = pixel * g.c + at.channel;
        const auto grad = load<kWidth>(grad_y + source);
        const auto index = load<kWidth>(argmax + source);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) {
          if (index.lane[k] == position) sum.lane[k] += grad.lane[k];
        }
      }
    }
    store(grad_x + item * kWidth, sum);
  });
}

template <class C, class Index>
__device__ C divisor(const Window<Index>& rows, const Window<Index>& columns) {
  const Index count = rows.extent * columns.extent;
  return static_cast<C>(count > 1 ? count : 1);
}

template <int kWidth, class T, class Index>
__global__ void avg_pool2d_kernel(Plane<Index> g, const T* x, T* y) {
  for_each_item<1>(g.items, [&](Index item) {
    const auto at = place_of<kWidth>(item, g.rows.outputs, g.columns.outputs, g.vectors);
    const Window<Index> rows = window_at(g.rows, at.row);
    const Window<Index> columns = window_at(g.columns, at.column);
    Vector<Compute<T>, kWidth> total = {};
    for (Index i = 0; i < rows.count; ++i) {
      const Index row = at.image * g.rows.size + rows.first + i * rows.step;
      const T* source = x + (row * g.columns.size + columns.first) * g.c + at.channel;
      Vector<Compute<T>, kWidth> sum = {};
#pragma unroll 4
      for (Index j = 0; j < columns.count; ++j) {
        const auto v = load<kWidth>(source + j * g.c);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) sum.lane[k] += v.lane[k];
      }
#pragma unroll
      for (int k = 0; k < kWidth; ++k) total.lane[k] += sum.lane[k];
    }
    const auto count = divisor<Compute<T>>(rows, columns);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) total.lane[k] /= count;
    store(y + item * kWidth, total);
  });
}

template <int kWidth, class T, class Index>
__global__ void avg_pool2d_backward_kernel(Plane<Index> g, const T* grad_y, T* grad_x) {
  for_each_item<1>(g.items, [&](Index item) {
    const auto at = place_of<kWidth>(item, g.rows.size, g.columns.size, g.vectors);
    const OutputRange<Index> rows = windows_across(g.rows, at.row);
    const OutputRange<Index> columns = windows_across(g.columns, at.column);
    Vector<Compute<T>, kWidth> sum = {};
    for (Index row = rows.begin; row < rows.end; ++row) {
      const Window<Index> height = window_at(g.rows, row);
      for (Index column = columns.begin; column < columns.end; ++column) {
        const Index pixel = (at.image * g.rows.outputs + row) * g.columns.outputs + column;
        const auto grad = load<kWidth>(grad_y + pixel * g.c + at.channel);
        const auto count = divisor<Compute<T>>(height, window_at(g.columns, column));
#pragma unroll
        for (int k = 0; k < kWidth; ++k) sum.lane[k] += grad.lane[k] / count;
      }
    }
    store(grad_x + item * kWidth, sum);
  });
}

// --- Launchers ----------------------------------------------------------------------------------

struct Averaging {
  bool adaptive, count_include_pad;
};

template <class Index>
Plane<Index> make_plane(const Pool2dGeometry& g, const Averaging& averaging, int width,
                        int64_t pixels) {
  const auto axis = [&](int64_t size, int64_t outputs, int64_t kernel, int64_t stride, int64_t pad,
                        int64_t dilation) {
    return WindowAxis<Index>{static_cast<Index>(size),   static_cast<Index>(outputs),
                             static_cast<Index>(kernel), static_cast<Index>(stride),
                             static_cast<Index>(pad),    static_cast<Index>(dilation),
                             averaging.adaptive,         averaging.count_include_pad};
  };
  return {axis(g.h, g.oh, g.kh, g.stride_h, g.pad_h, g.dilation_h),
          axis(g.w, g.ow, g.kw, g.stride_w, g.pad_w, g.dilation_w), static_cast<Index>(g.c),
          static_cast<Index>(g.c / width), static_cast<Index>(pixels * (g.c / width))};
}

/// Whether offsets fit, and the ends of windows, which lie within twice the padded input.
bool indices_fit(const Pool2dGeometry& g) {
  constexpr int64_t kSmall = int64_t{1} << 29;
  return fits_int32(g.n * g.h * g.w * g.c) && fits_int32(g.n * g.oh * g.ow * g.c) &&
         std::max({g.h + 2 * g.pad_h, g.w + 2 * g.pad_w, g.stride_h, g.stride_w}) < kSmall;
}

/// Calls body(type, width, plane) with the element type, vectors and indices that fit; `pixels`
/// are those that threads are started for.
template <class Body, class... Pointers>
void with_plane(const Pool2dGeometry& g, DType dtype, const Averaging& averaging, int64_t pixels,
                const Body& body, Pointers... pointers) {
  with_floating_type(dtype, [&](auto type) {
    with_width<typename decltype(type)::type>(
        g.c,
        [&](auto width) {
          with_index(indices_fit(g), [&](auto index) {
            body(type, width, make_plane<decltype(index)>(g, averaging, width(), pixels));
          });
        },
        pointers...);
  });
}

constexpr Averaging kMaximum = {false, false};

}  // namespace

void max_pool2d(const MaxPool2dArgs& a, Stream stream) {
  const auto run = [&]<class T, class Index>(Type<T>, auto width, const Plane<Index>& plane) {
    launch_items<1>("max_pool2d", max_pool2d_kernel<width(), T, Index>, plane.items, stream, plane,
                    a.relu, static_cast<const T*>(a.x), static_cast<T*>(a.y), a.argmax);
  };
  with_plane(a.g, a.dtype, kMaximum, a.g.n * a.g.oh * a.g.ow, run, a.x, a.y, a.argmax);
}

void max_pool2d_backward(const MaxPool2dBackwardArgs& a, Stream stream) {
  const auto run = [&]<class T, class Index>(Type<T>, auto width, const Plane<Index>& plane) {
    launch_items<1>("max_pool2d_backward", max_pool2d_backward_kernel<width(), T, Index>,
                    plane.items, stream, plane, static_cast<const T*>(a.grad_y), a.argmax,
                    static_cast<T*>(a.grad_x));
  };
  with_plane(a.g, a.dtype, kMaximum, a.g.n * a.g.h * a.g.w, run, a.grad_y, a.argmax, a.grad_x);
}

void avg_pool2d(const AvgPool2dArgs& a, Stream stream) {
  const auto run = [&]<class T, class Index>(Type<T>, auto width, const Plane<Index>& plane) {
    launch_items<1>("avg_pool2d", avg_pool2d_kernel<width(), T, Index>, plane.items, stream, plane,
                    static_cast<const T*>(a.x), static_cast<T*>(a.y));
  };
  with_plane(a.g, a.dtype, {a.adaptive, a.count_include_pad}, a.g.n * a.g.oh * a.g.ow, run, a.x,
             a.y);
}

void avg_pool2d_backward(const AvgPool2dBackwardArgs& a, Stream stream) {
  const auto run = [&]<class T, class Index>(Type<T>, auto width, const Plane<Index>& plane) {
    launch_items<1>("avg_pool2d_backward", avg_pool2d_backward_kernel<width(), T, Index>,
                    plane.items, stream, plane, static_cast<const T*>(a.grad_y),
                    static_cast<T*>(a.grad_x));
  };
  with_plane(a.g, a.dtype, {a.adaptive, a.count_include_pad}, a.g.n * a.g.h * a.g.w, run, a.grad_y,
             a.grad_x);
}

}  // namespace striate::cuda
