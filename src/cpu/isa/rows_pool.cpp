// Pooling: a window at a time, vectors along the channels.
#include "cpu/isa/rows.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// The part of one window that lies inside the image, in elements and as positions h * w + w.
struct Window {
  int64_t first, row_step, column_step;
  int32_t position, row_position, column_position;
  int64_t rows, columns;
  int64_t extent;  // input columns that the divisor of an average counts
};

inline Window window_at(const PoolRow& row, int64_t i) {
  int64_t begin, columns, extent, step = 1;
  if (row.adaptive) {
    begin = i * row.w / row.ow;
    columns = extent = ((i + 1) * row.w + row.ow - 1) / row.ow - begin;
  } else {
    step = row.dilation_w;
    const int64_t start = i * row.stride_w - row.pad_w;
    const int64_t skipped = start < 0 ? (-start + step - 1) / step : 0;
    const int64_t stop = start + (row.kw - 1) * step + 1;
    const int64_t outside = stop > row.w ? (stop - row.w + step - 1) / step : 0;
    begin = start + skipped * step;
    columns = larger(row.kw - skipped - outside, 0);
    extent = row.count_include_pad ? smaller(stop, row.w + row.pad_w) - start : columns;
  }
  return {
      .first = (row.h_first * row.w + begin) * row.pixel,
      .row_step = row.h_step * row.w * row.pixel,
      .column_step = step * row.pixel,
      .position = static_cast<int32_t>(row.h_first * row.w + begin),
      .row_position = static_cast<int32_t>(row.h_step * row.w),
      .column_position = static_cast<int32_t>(step),
      .rows = row.h_count,
      .columns = columns,
      .extent = extent,
  };
}

/// The next narrower vector, down to 16 bytes and then to one element.
template <class T, int L>
constexpr int kNarrower = sizeof(Compute<T>) * L > 16 ? L / 2 : 1;

/// Calls body.template operator()<lanes>(channel) on blocks that cover [0, c) without overlap.
template <class T, int L, class Body>
inline void for_each_block(int64_t c, int64_t begin, const Body& body) {
  int64_t channel = begin;
  for (; channel + L <= c; channel += L) body.template operator()<L>(channel);
  if constexpr (L > 1) {
    if (channel < c) for_each_block<T, kNarrower<T, L>>(c, channel, body);
  }
}

/// As above for bodies that may do a channel twice: the last block overlaps the one before it.
template <class T, int L, class Body>
inline void for_each_covering_block(int64_t c, const Body& body) {
  if constexpr (L > 1) {
    if (c < L) return for_each_covering_block<T, kNarrower<T, L>>(c, body);
  }
  for (int64_t channel = 0; channel + L <= c; channel += L) body.template operator()<L>(channel);
  if (c % L != 0) body.template operator()<L>(c - L);
}

template <int L, class T>
inline Vector<T, L> broadcast(T value) {
  return value - Vector<T, L>{};
}

/// kSide: the window's rows and columns where both are known (2 x 2 unrolls, 30 % faster), else 0.
template <bool kIndex, int kSide, int L, class T>
inline void max_block(const Window& window, const T* x, T* y, int32_t* argmax) {
  using V = Compute<T>;
  using Index = Vector<Integer<V>, L>;
  const int64_t rows = kSide ? kSide : window.rows, columns = kSide ? kSide : window.columns;
  const bool empty = rows == 0 || columns == 0;
  Vector<V, L> best =
      empty ? broadcast<L>(static_cast<V>(-__builtin_inf())) : load<L>(x + window.first);
  Index at = broadcast<L>(static_cast<Integer<V>>(empty ? -1 : window.position));
#pragma GCC unroll 2
  for (int64_t r = 0; r < rows; ++r) {
    const T* p = x + window.first + r * window.row_step;
    Integer<V> position = window.position + static_cast<int32_t>(r) * window.row_position;
#pragma GCC unroll 2
    for (int64_t k = 0; k < columns; ++k) {
      const Vector<V, L> v = load<L>(p);
      const auto stays = (v <= best) | (best != best);  // the first maximum, the first NaN
      best = stays ? best : v;
      if constexpr (kIndex) at = stays ? at : broadcast<L>(position);
      p += window.column_step;
      position += window.column_position;
    }
  }
  store<L>(y, best);
  if constexpr (kIndex && L == 1) {
    *argmax = static_cast<int32_t>(at);
  } else if constexpr (kIndex) {
    store<L>(argmax, __builtin_convertvector(at, Vector<int32_t, L>));
  }
}

template <bool kIndex, class T>
inline void max_row(const PoolRow& row, const T* x, T* y, int32_t* argmax) {
  for (int64_t i = 0; i < row.ow; ++i) {
    const Window window = window_at(row, i);
    const auto block = [&]<int kSide, int L>(int64_t channel) {
      const int64_t at = i * row.pixel + channel;
      max_block<kIndex, kSide, L>(window, x + channel, y + at, kIndex ? argmax + at : nullptr);
    };
    if (window.rows == 2 && window.columns == 2) {
      for_each_covering_block<T, kLanes<T>>(
          row.c, [&]<int L>(int64_t channel) { block.template operator()<2, L>(channel); });
    } else {
      for_each_covering_block<T, kLanes<T>>(
          row.c, [&]<int L>(int64_t channel) { block.template operator()<0, L>(channel); });
    }
  }
}

/// One block of channels of a window: the gradient goes where argmax says, and zero elsewhere.
template <int L, bool kAdd, class T>
inline void max_backward_block(const Window& window, const T* grad_y, const int32_t* argmax,
                               T* grad_x) {
  using Index = Vector<Integer<T>, L>;
  const Vector<T, L> grad = load<L>(grad_y);
  const Index at = __builtin_convertvector(load<L>(argmax), Index);
  for (int64_t r = 0; r < window.rows; ++r) {
    T* p = grad_x + window.first + r * window.row_step;
    Integer<T> position = window.position + static_cast<int32_t>(r) * window.row_position;
    for (int64_t k = 0; k < window.columns; ++k) {
      const Vector<T, L> share = at == broadcast<L>(position) ? grad : Vector<T, L>{};
      store<L>(p, kAdd ? load<L>(p) + share : share);
      p += window.column_step;
      position += window.column_position;
    }
  }
}

/// Windows that overlap add to grad_x; where lanes are few, an element goes straight to its place.
/// Others own their pixels, so that their blocks of channels may overlap.
template <class T>
void max_backward(const PoolRow& row, const T* grad_y, const int32_t* argmax, T* grad_x) {
  for (int64_t i = 0; i < row.ow; ++i, grad_y += row.pixel, argmax += row.pixel) {
    const Window window = window_at(row, i);
    if (window.rows == 0 || window.columns == 0) continue;
    const auto scatter = [&](int64_t channel) {
      grad_x[argmax[channel] * row.pixel + channel] += grad_y[channel];
    };
    if (row.disjoint) {
      for_each_covering_block<T, kLanes<T>>(row.c, [&]<int L>(int64_t channel) {
        if constexpr (L == 1) {
          scatter(channel);
        } else {
          max_backward_block<L, false>(window, grad_y + channel, argmax + channel,
                                       grad_x + channel);
        }
      });
    } else {
      for_each_block<T, kLanes<T>>(row.c, 0, [&]<int L>(int64_t channel) {
        if constexpr (L == 1) {
          scatter(channel);
        } else {
          max_backward_block<L, true>(window, grad_y + channel, argmax + channel, grad_x + channel);
        }
      });
    }
  }
}

template <class T>
inline Compute<T> divisor(const PoolRow& row, const Window& window) {
  return static_cast<Compute<T>>(larger(row.h_extent * window.extent, 1));
}

template <class T, class V = Compute<T>>
void average(const PoolRow& row, const T* x, T* y) {
  for (int64_t i = 0; i < row.ow; ++i) {
    const Window window = window_at(row, i);
    const V count = divisor<T>(row, window);
    for_each_covering_block<T, kLanes<T>>(row.c, [&]<int L>(int64_t channel) {
      Vector<V, L> total = {};
      for (int64_t r = 0; r < window.rows; ++r) {
        const T* p = x + window.first + r * window.row_step + channel;
        Vector<V, L> sum = {};
        for (int64_t k = 0; k < window.columns; ++k, p += window.column_step) sum += load<L>(p);
        total += sum;
      }
      store<L>(y + i * row.pixel + channel, total / count);
    });
  }
}

template <class T>
void average_backward(const PoolRow& row, const T* grad_y, T* grad_x) {
  for (int64_t i = 0; i < row.ow; ++i) {
    const Window window = window_at(row, i);
    const T count = divisor<T>(row, window);
    for_each_block<T, kLanes<T>>(row.c, 0, [&]<int L>(int64_t channel) {
      const Vector<T, L> grad = load<L>(grad_y + i * row.pixel + channel) / count;
      for (int64_t r = 0; r < window.rows; ++r) {
        T* p = grad_x + window.first + r * window.row_step + channel;
        for (int64_t k = 0; k < window.columns; ++k, p += window.column_step) {
          store<L>(p, load<L>(p) + grad);
        }
      }
    });
  }
}

/// The windows [first, last) along an axis that may hold input coordinate i.
struct Holders {
  int64_t first, last;
};
inline Holders holders(const PoolAxis& axis, int64_t i) {
  if (axis.adaptive) return {i * axis.out / axis.in, ((i + 1) * axis.out + axis.in - 1) / axis.in};
  const int64_t position = i + axis.pad, reach = position - (axis.kernel - 1) * axis.dilation;
  return {reach > 0 ? (reach + axis.stride - 1) / axis.stride : 0,
          smaller(position / axis.stride + 1, axis.out)};
}
/// What window o of an axis counts for the divisor of an average.
inline int64_t counted(const PoolAxis& axis, int64_t o) {
  if (axis.adaptive) return ((o + 1) * axis.in + axis.out - 1) / axis.out - o * axis.in / axis.out;
  const int64_t start = o * axis.stride - axis.pad, stop = start + axis.kernel;
  if (axis.count_include_pad) return smaller(stop, axis.in + axis.pad) - start;
  return larger(smaller(stop, axis.in) - larger(start, 0), 1);
}

/// One input row: each pixel adds up its shares of the gradients of the windows that hold it.
template <class T, class Share>
inline void gather(const PoolGrid& grid, int64_t row, T* grad_x, Share share) {
  const int64_t c = grid.c;
  const Holders rows = holders(grid.rows, row);
  for (int64_t i = 0; i < grid.columns.in; ++i) {
    const Holders columns = holders(grid.columns, i);
    for_each_covering_block<T, kLanes<T>>(c, [&]<int L>(int64_t channel) {
      Vector<Compute<T>, L> total = {};
      for (int64_t oh = rows.first; oh < rows.last; ++oh)
        for (int64_t ow = columns.first; ow < columns.last; ++ow)
          total +=
              share.template operator()<L>(i, oh, ow, (oh * grid.columns.out + ow) * c + channel);
      store<L>(grad_x + i * c + channel, total);
    });
  }
}

template <class T>
void max_gather(const PoolGrid& grid, int64_t row, const T* grad_y, const int32_t* argmax,
                T* grad_x) {
  const auto first = static_cast<int32_t>(row * grid.columns.in);
  gather(grid, row, grad_x, [=]<int L>(int64_t i, int64_t, int64_t, int64_t at) {
    const Vector<int32_t, L> position = broadcast<L>(first + static_cast<int32_t>(i));
    return load<L>(argmax + at) == position ? load<L>(grad_y + at) : Vector<Compute<T>, L>{};
  });
}

template <class T>
void average_gather(const PoolGrid& grid, int64_t row, const T* grad_y, T* grad_x) {
  gather(grid, row, grad_x, [&]<int L>(int64_t, int64_t oh, int64_t ow, int64_t at) {
    const int64_t count = larger(counted(grid.rows, oh) * counted(grid.columns, ow), 1);
    return load<L>(grad_y + at) / static_cast<Compute<T>>(count);
  });
}

template <class T>
constexpr PoolKernels<T> pool_kernels() {
  PoolKernels<T> kernels{
      .max = [](const PoolRow& row, const T* x, T* y) { max_row<false, T>(row, x, y, nullptr); },
      .max_index = max_row<true, T>,
      .average = average<T>,
  };
  if constexpr (sizeof(T) == sizeof(BFloat16)) {
    kernels.max_gather = max_gather<T>;
    kernels.average_gather = average_gather<T>;
  } else {
    kernels.max_backward = max_backward<T>;
    kernels.average_backward = average_backward<T>;
  }
  return kernels;
}

}  // namespace

namespace STRIATE_ISA {
constexpr PoolKernels<float> pool_float = pool_kernels<float>();
constexpr PoolKernels<double> pool_double = pool_kernels<double>();
constexpr PoolKernels<BFloat16> pool_bfloat16 = pool_kernels<BFloat16>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
