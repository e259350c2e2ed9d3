// Pooling: a window at a time, vectors along the channels.
#include "cpu/isa/tables.h"
#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

/// The part of a window that lies inside the image, along one axis: coordinates first + i * step
/// for i < count.
struct Span {
  int64_t first, step, count;
};

inline Span span_at(const PoolAxis& axis, int64_t window) {
  if (axis.adaptive) {
    const int64_t first = window * axis.in / axis.out;
    const int64_t count = ((window + 1) * axis.in + axis.out - 1) / axis.out - first;
    return {first, 1, count};
  }
  const int64_t step = axis.dilation, start = window * axis.stride - axis.pad;
  const int64_t stop = start + (axis.kernel - 1) * step + 1;
  const int64_t skipped = start < 0 ? (-start + step - 1) / step : 0;
  const int64_t outside = stop > axis.in ? (stop - axis.in + step - 1) / step : 0;
  return {start + skipped * step, step, larger(axis.kernel - skipped - outside, 0)};
}

/// The same of a window of an image, in elements and as positions h * w + w.
struct Window {
  int64_t first, row_step, column_step;
  int32_t position, row_position, column_position;
  int64_t rows, columns;
};

inline Window window_at(const PoolGrid& grid, int64_t row, int64_t column) {
  const Span rows = span_at(grid.rows, row), columns = span_at(grid.columns, column);
  const int64_t w = grid.columns.in, position = rows.first * w + columns.first;
  return {
      .first = position * grid.c,
      .row_step = rows.step * w * grid.c,
      .column_step = columns.step * grid.c,
      .position = static_cast<int32_t>(position),
      .row_position = static_cast<int32_t>(rows.step * w),
      .column_position = static_cast<int32_t>(columns.step),
      .rows = rows.count,
      .columns = columns.count,
  };
}

/// Calls body(i, window, whole) on the windows of an output row; it returns how many it has done.
/// Most are whole, and such differ from the one before by constants. From this one on, `whole` are
/// and have a whole one behind them, so that a pixel follows wherever they read: what a vector
/// touches there is in bounds, and written later.
template <class Body>
inline void for_each_window(const PoolGrid& grid, int64_t row, const Body& body) {
  const PoolAxis axis = grid.columns;  // a copy, which no store can change
  const int64_t c = grid.c;
  const int64_t reach =
      axis.in + axis.pad - (axis.kernel - 1) * axis.dilation;  // of a whole one's start
  const int64_t first = axis.adaptive ? axis.out : (axis.pad + axis.stride - 1) / axis.stride;
  const int64_t last =
      axis.adaptive || reach <= 0 ? 0 : smaller((reach + axis.stride - 1) / axis.stride, axis.out);
  Window window{};
  for (int64_t i = 0, done = 0; i < axis.out; i += done) {
    if (first < i && i < last) {
      window.first += done * axis.stride * c;
      window.position += static_cast<int32_t>(done * axis.stride);
    } else {
      window = window_at(grid, row, i);
    }
    done = body(i, window, i < first ? 0 : larger(last - 1 - i, 0));
  }
}

/// The next narrower vector, down to 16 bytes and then to one element.
template <class T, int L>
constexpr int kNarrower = sizeof(Compute<T>) * L > 16 ? L / 2 : 1;

/// Calls body.template operator()<lanes>(channel) on blocks that cover [0, c); the last overlaps
/// the one before it.
template <class T, int L, class Body>
inline void for_each_block(int64_t c, const Body& body) {
  if constexpr (L > 1) {
    if (c < L) return for_each_block<T, kNarrower<T, L>>(c, body);
  }
  for (int64_t channel = 0; channel + L <= c; channel += L) body.template operator()<L>(channel);
  if (c % L != 0) body.template operator()<L>(c - L);
}

/// Calls body<lanes>(0) with the narrowest vector that holds all c channels, false if there is
/// none. It reads and writes past them, but not past as many again.
template <class T, int L, class Body>
inline bool in_one_block(int64_t c, const Body& body) {
  if (2 * c <= L) {
    if constexpr (sizeof(Compute<T>) * L > 16) return in_one_block<T, L / 2>(c, body);
    if (2 * c < L) return false;
  }
  if (c > L) return false;
  body.template operator()<L>(0);
  return true;
}

template <int L, class T>
inline Vector<T, L> broadcast(T value) {
  return value - Vector<T, L>{};
}

/// kSide: the window's rows and columns where both are known (2 x 2 unrolls), else 0. Inlined, or
/// each window loads all that does not change from one to the next.
template <bool kIndex, int kSide, int L, class T>
inline __attribute__((always_inline)) void max_block(const Window& window, bool relu, const T* x,
                                                     T* y, int32_t* argmax) {
  using V = Compute<T>;
  using Index = Vector<Integer<V>, L>;
  const int64_t rows = kSide ? kSide : window.rows, columns = kSide ? kSide : window.columns;
  const bool empty = rows == 0 || columns == 0;
  Vector<V, L> best =
      empty ? broadcast<L>(static_cast<V>(-__builtin_inf())) : load<L>(x + window.first);
  Index at = {};  // positions from that of the window
#pragma GCC unroll 2
  for (int64_t r = 0; r < rows; ++r) {
    const T* p = x + window.first + r * window.row_step;
    Integer<V> position = static_cast<int32_t>(r) * window.row_position;
#pragma GCC unroll 2
    for (int64_t k = 0; k < columns; ++k) {
      if (r > 0 || k > 0) {  // `best` is the first
        const Vector<V, L> v = load<L>(p);
        const auto stays = (v <= best) | (best != best);  // the first maximum, the first NaN
        best = stays ? best : v;
        if constexpr (kIndex) at = stays ? at : broadcast<L>(position);
      }
      p += window.column_step;
      position += window.column_position;
    }
  }
  at = empty ? broadcast<L>(Integer<V>{-1}) : at + static_cast<Integer<V>>(window.position);
  if (relu) {
    const auto cut = best <= 0;
    best = cut ? Vector<V, L>{} : best;
    if constexpr (kIndex) at = cut ? broadcast<L>(Integer<V>{-1}) : at;
  }
  store<L>(y, best);
  if constexpr (kIndex && L == 1) {
    *argmax = static_cast<int32_t>(at);
  } else if constexpr (kIndex) {
    store<L>(argmax, __builtin_convertvector(at, Vector<int32_t, L>));
  }
}

/// `count` whole windows, `step` pixels apart, of one vector each.
template <bool kIndex, int kSide, int L, class T>
__attribute__((noinline)) void max_run(const Window& first, int64_t count, int64_t step, int64_t c,
                                       bool relu, const T* x, T* y, int32_t* argmax) {
  Window window = first;
  for (; count > 0; --count, y += c) {
    max_block<kIndex, kSide, L>(window, relu, x, y, argmax);
    window.first += step * c;
    window.position += static_cast<int32_t>(step);
    if constexpr (kIndex) argmax += c;
  }
}

template <bool kIndex, class T>
inline void max_row(const PoolGrid& grid, int64_t row, bool relu, const T* x, T* y,
                    int32_t* argmax) {
  const int64_t c = grid.c, first = row * grid.columns.out * c, step = grid.columns.stride;
  for_each_window(grid, row, [&](int64_t i, const Window& window, int64_t whole) {
    const bool pairs = window.rows == 2 && window.columns == 2;
    const auto index = [&](int64_t at) { return kIndex ? argmax + at : nullptr; };
    const int64_t at = first + i * c;
    const bool run = whole > 0 && in_one_block<T, kLanes<T>>(c, [&]<int L>(int64_t) {
                       const auto of = pairs ? max_run<kIndex, 2, L, T> : max_run<kIndex, 0, L, T>;
                       of(window, whole, step, c, relu, x, y + at, index(at));
                     });
    if (run) return whole;
    for_each_block<T, kLanes<T>>(c, [&]<int L>(int64_t channel) {
      const auto of = pairs ? max_run<kIndex, 2, L, T> : max_run<kIndex, 0, L, T>;
      of(window, 1, step, c, relu, x + channel, y + at + channel, index(at + channel));
    });
    return int64_t{1};
  });
}

template <class T>
void max(const PoolGrid& grid, int64_t row, bool relu, const T* x, T* y, int32_t* argmax) {
  argmax == nullptr ? max_row<false>(grid, row, relu, x, y, argmax)
                    : max_row<true>(grid, row, relu, x, y, argmax);
}

/// The indices of one block of channels, as wide as the elements they are compared for.
template <class T, int L>
inline Vector<Integer<Compute<T>>, L> load_indices(const int32_t* argmax) {
  if constexpr (L == 1) {
    return *argmax;
  } else {
    return __builtin_convertvector(load<L>(argmax), Vector<Integer<Compute<T>>, L>);
  }
}

/// One vector of channels of `count` windows, `step` pixels apart: the gradient goes where argmax
/// says, and zero elsewhere.
template <int L, int kSide, class T>
__attribute__((noinline)) void max_scatter_run(const Window& first, int64_t count, int64_t step,
                                               int64_t c, const T* grad_y, const int32_t* argmax,
                                               T* grad_x) {
  using V = Compute<T>;
  Window window = first;
  const int64_t rows = kSide ? kSide : window.rows, columns = kSide ? kSide : window.columns;
  for (; count > 0; --count, grad_y += c, argmax += c) {
    const Vector<V, L> grad = load<L>(grad_y);
    const auto at = load_indices<T, L>(argmax) - static_cast<Integer<V>>(window.position);
#pragma GCC unroll 2
    for (int64_t r = 0; r < rows; ++r) {
      T* p = grad_x + window.first + r * window.row_step;
      Integer<V> position = static_cast<int32_t>(r) * window.row_position;
#pragma GCC unroll 2
      for (int64_t k = 0; k < columns; ++k) {
        store<L>(p, at == broadcast<L>(position) ? grad : Vector<V, L>{});
        p += window.column_step;
        position += window.column_position;
      }
    }
    window.first += step * c;
    window.position += static_cast<int32_t>(step);
  }
}

template <class T>
void max_scatter(const PoolGrid& grid, int64_t row, const T* grad_y, const int32_t* argmax,
                 T* grad_x) {
  const int64_t c = grid.c, first = row * grid.columns.out * c, step = grid.columns.stride;
  for_each_window(grid, row, [&](int64_t i, const Window& window, int64_t whole) {
    const bool pairs = window.rows == 2 && window.columns == 2;
    const auto run = [&]<int L>(int64_t channel, int64_t count) {
      const int64_t at = first + i * c + channel;
      const auto of = pairs ? max_scatter_run<L, 2, T> : max_scatter_run<L, 0, T>;
      of(window, count, step, c, grad_y + at, argmax + at, grad_x + channel);
    };
    if (whole > 0 && in_one_block<T, kLanes<T>>(
                         c, [&]<int L>(int64_t) { run.template operator()<L>(0, whole); }))
      return whole;
    for_each_block<T, kLanes<T>>(
        c, [&]<int L>(int64_t channel) { run.template operator()<L>(channel, 1); });
    return int64_t{1};
  });
}

template <class T>
inline Compute<T> divisor(const PoolGrid& grid, int64_t row, int64_t column) {
  return static_cast<Compute<T>>(larger(grid.rows.counted[row] * grid.columns.counted[column], 1));
}

template <class T, class V = Compute<T>>
void average(const PoolGrid& grid, int64_t row, const T* x, T* y) {
  const int64_t c = grid.c, first = row * grid.columns.out * c;
  for_each_window(grid, row, [&](int64_t i, const Window& window, int64_t) {
    const V count = divisor<T>(grid, row, i);
    for_each_block<T, kLanes<T>>(c, [&]<int L>(int64_t channel) {
      Vector<V, L> total = {};
      for (int64_t r = 0; r < window.rows; ++r) {
        const T* p = x + window.first + r * window.row_step + channel;
        Vector<V, L> sum = {};
        for (int64_t k = 0; k < window.columns; ++k, p += window.column_step) sum += load<L>(p);
        total += sum;
      }
      store<L>(y + first + i * c + channel, total / count);
    });
    return int64_t{1};
  });
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

/// One input row: each pixel adds up its shares of the gradients of the windows that hold it.
template <class T, class Share>
inline void gather(const PoolGrid& grid, int64_t row, T* grad_x, Share share) {
  const int64_t c = grid.c;
  grad_x += row * grid.columns.in * c;
  const Holders rows = holders(grid.rows, row);
  for (int64_t i = 0; i < grid.columns.in; ++i, grad_x += c) {
    const Holders columns = holders(grid.columns, i);
    // In one window alone: that takes no loop.
    const bool alone = rows.last - rows.first == 1 && columns.last - columns.first == 1;
    for_each_block<T, kLanes<T>>(c, [&]<int L>(int64_t channel) {
      const auto of = [&](int64_t oh, int64_t ow) {
        return share.template operator()<L>(i, oh, ow, (oh * grid.columns.out + ow) * c + channel);
      };
      if (alone) return store<L>(grad_x + channel, of(rows.first, columns.first));
      Vector<Compute<T>, L> total = {};
      for (int64_t oh = rows.first; oh < rows.last; ++oh)
        for (int64_t ow = columns.first; ow < columns.last; ++ow) total += of(oh, ow);
      store<L>(grad_x + channel, total);
    });
  }
}

template <class T>
void max_gather(const PoolGrid& grid, int64_t row, const T* grad_y, const int32_t* argmax,
                T* grad_x) {
  const int64_t first = row * grid.columns.in;
  gather(grid, row, grad_x, [=]<int L>(int64_t i, int64_t, int64_t, int64_t at) {
    const auto position = broadcast<L>(static_cast<Integer<Compute<T>>>(first + i));
    return load_indices<T, L>(argmax + at) == position ? load<L>(grad_y + at)
                                                       : Vector<Compute<T>, L>{};
  });
}

template <class T>
void average_gather(const PoolGrid& grid, int64_t row, const T* grad_y, T* grad_x) {
  gather(grid, row, grad_x, [&]<int L>(int64_t, int64_t oh, int64_t ow, int64_t at) {
    return load<L>(grad_y + at) / divisor<T>(grid, oh, ow);
  });
}

template <class T>
constexpr PoolKernels<T> kPool{max<T>, average<T>, max_scatter<T>, max_gather<T>,
                               average_gather<T>};

}  // namespace

namespace STRIATE_ISA {
constexpr PoolKernels<float> pool_float = kPool<float>;
constexpr PoolKernels<double> pool_double = kPool<double>;
constexpr PoolKernels<BFloat16> pool_bfloat16 = kPool<BFloat16>;
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
