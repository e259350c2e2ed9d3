// How the convolution passes walk their operands: phases, taps, borders and column panels.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {

// Multiply-adds worth waking a thread for: about 10 us at the speed of small layers.
inline constexpr int64_t kGrainMacs = 400'000;
// Work is cut so that even small layers offer this many units.
inline constexpr int64_t kMinUnits = 16;

/// The `part`-th of `parts` nearly equal pieces of [0, count).
inline int64_t split_point(int64_t count, int64_t parts, int64_t part) {
  return count * part / parts;
}

/// A kernel position and the source coordinate it reads, relative to base = index * source_step.
struct Tap {
  int64_t kernel, offset;
};

/// The result coordinates start, start + step, ... along one axis, and what each of them reads.
struct Phase {
  int64_t count, start, step, source_step;
  std::vector<Tap> taps;  // by increasing offset
};

/// One spatial axis of a convolution.
struct Axis {
  int64_t in, out, kernel, stride, pad, dilation;
};
inline Axis vertical(const Conv2dGeometry& g) {
  return {g.h, g.oh, g.kh, g.stride_h, g.pad_h, g.dilation_h};
}
inline Axis horizontal(const Conv2dGeometry& g) {
  return {g.w, g.ow, g.kw, g.stride_w, g.pad_w, g.dilation_w};
}

inline std::vector<Phase> phases(const Axis& axis, ConvPass pass) {
  std::vector<Phase> result;
  if (pass != ConvPass::kInputGrad) {
    Phase phase{axis.out, 0, 1, axis.stride, {}};
    for (int64_t k = 0; k < axis.kernel; ++k)
      phase.taps.push_back({k, k * axis.dilation - axis.pad});
    result.push_back(std::move(phase));
    return result;
  }
  for (int64_t start = 0; start < std::min(axis.stride, axis.in); ++start) {
    Phase phase{ceil_div(axis.in - start, axis.stride), start, axis.stride, 1, {}};
    for (int64_t k = axis.kernel - 1; k >= 0; --k) {
      const int64_t position = start + axis.pad - k * axis.dilation;
      if (position % axis.stride == 0) phase.taps.push_back({k, position / axis.stride});
    }
    result.push_back(std::move(phase));
  }
  return result;
}

/// Zero rows (or columns) before and after `length` source ones that some tap reads.
struct Border {
  int64_t before = 0, after = 0;
};
inline Border border(const std::vector<Phase>& phases, int64_t length) {
  Border result;
  for (const Phase& phase : phases) {
    for (const Tap& tap : phase.taps) {
      result.before = std::max(result.before, -tap.offset);
      result.after =
          std::max(result.after, (phase.count - 1) * phase.source_step + tap.offset - (length - 1));
    }
  }
  return result;
}

/// A source image with its borders, and zeros behind the channels of each pixel where a step of the
/// sum takes more than there are; strides in elements.
struct Source {
  int64_t n, h, w, c;  // as given
  int64_t padded;      // channels
  Border rows, columns;
  bool copied;

  int64_t pixel() const { return padded; }
  int64_t row() const { return (w + columns.before + columns.after) * pixel(); }
  int64_t image() const { return (h + rows.before + rows.after) * row(); }
  /// Elements of the copy; tiles may read up to a tile's width past the last pixel.
  int64_t copy_size() const { return copied ? n * image() + kMaxTileWidth : 0; }
};

struct Pass {
  std::vector<Phase> rows, columns;
  Source source;
  int64_t channels, filters;                       // per group: summed over, computed
  int64_t result_pixel, result_row, result_image;  // strides of the result
};

/// `step` channels are summed at once; several groups have whole steps of them.
inline Pass make_pass(const Conv2dGeometry& g, ConvPass pass, int64_t step = 1) {
  Pass result{phases(vertical(g), pass), phases(horizontal(g), pass), {}, 0, 0, 0, 0, 0};
  const bool backward = pass == ConvPass::kInputGrad;
  const int64_t c = backward ? g.o : g.c, padded = ceil_div(c, step) * step;
  result.source = {g.n,        backward ? g.oh : g.h, backward ? g.ow : g.w, c, padded, {}, {},
                   padded != c};
  Source& source = result.source;
  source.rows = border(result.rows, source.h);
  source.columns = border(result.columns, source.w);
  source.copied |=
      source.rows.before + source.rows.after + source.columns.before + source.columns.after > 0;
  result.channels = padded / g.groups;
  result.result_pixel = backward ? g.c : g.o;
  result.result_row = (backward ? g.w : g.ow) * result.result_pixel;
  result.result_image = (backward ? g.h : g.oh) * result.result_row;
  result.filters = result.result_pixel / g.groups;
  return result;
}

/// Whether the taps of one kernel row read one contiguous run of pixels.
inline bool contiguous_taps(const Phase& phase, const Conv2dGeometry& g) {
  if (g.groups > 1) return false;
  for (size_t i = 1; i < phase.taps.size(); ++i)
    if (phase.taps[i].offset != phase.taps[i - 1].offset + 1) return false;
  return true;
}

/// A column panel of a packed operand.
struct Panel {
  int64_t column, width, filled;
};
/// The panels that cover `columns`, from left to right.
template <class T>
std::vector<Panel> panels(int64_t columns, bool flat = false) {
  std::vector<Panel> result;
  for (int64_t column = 0; column < columns; column += result.back().width) {
    const GemmKernels<T>& gemm = isa().gemm<T>();
    const int64_t left = columns - column;
    const int64_t width = (flat ? gemm.flat_shape(left) : gemm.shape(left)).width;
    result.push_back({column, width, std::min(width, left)});
  }
  return result;
}

/// Vector registers that `columns` values of a packed operand take.
template <class T>
int64_t vector_registers(int64_t columns) {
  const GemmKernels<T>& gemm = isa().gemm<T>();
  return ceil_div(columns, gemm.shapes[gemm.count - 1].width / 2);
}

/// Memory that tiles ask for while they compute, because what follows reads it.
template <class T>
struct ReadAhead {
  const T *next, *end;

  bool done() const { return next >= end; }
  /// The next `count` cache lines, and the step between them.
  Ahead<T> lines(int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(T);
    if (done()) return {next, 0};
    next += count * kLine;
    return {next - count * kLine, kLine};
  }
};

// Channels that packing reads of a filter before it turns to the next one: a cache line of floats.
inline constexpr int64_t kPackedChannels = 16;

/// Where term i of column j is in a packed operand [step][width][kStep].
template <class T>
int64_t packed_index(int64_t i, int64_t j, int64_t width) {
  return (i / kStep<T> * width + j) * kStep<T> + i % kStep<T>;
}

/// to[i * to_stride + j] = from[j * from_stride + i] for i, j < 4. With names, because g++ 12 sends
/// arrays of vectors through memory.
inline void transpose_square(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  typedef float Row __attribute__((vector_size(16), aligned(sizeof(float)), may_alias));
  const auto row = [=](int64_t j) { return *reinterpret_cast<const Row*>(from + j * from_stride); };
  const auto store = [=](int64_t i, Row v) { *reinterpret_cast<Row*>(to + i * to_stride) = v; };
  const Row r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
  const Row low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5);
  const Row low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  const Row high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  const Row high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store(0, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  store(1, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  store(2, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  store(3, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

/// Packs from[i * stride_i + j * stride_j], along whichever of them is contiguous.
template <class T, class To>
void copy_block(const T* from, int64_t stride_i, int64_t stride_j, int64_t count_i, int64_t count_j,
                To* to, int64_t width) {
  const auto copy = [=](int64_t i, int64_t j) {
    to[packed_index<To>(i, j, width)] = convert<To>(from[i * stride_i + j * stride_j]);
  };
  const int64_t whole = count_i / kStep<To> * kStep<To>;  // steps, which loops take at once
  if (stride_j == 1) {
    for (int64_t i = 0; i < whole; i += kStep<To>) {
      const T* terms = from + i * stride_i;
      To* step = to + i * width;
#pragma GCC ivdep
      for (int64_t j = 0; j < count_j; ++j)
        for (int64_t term = 0; term < kStep<To>; ++term)
          step[j * kStep<To> + term] = convert<To>(terms[term * stride_i + j]);
    }
  } else if (std::is_same_v<T, To> && stride_i == 1) {
    int64_t j = 0;
    if constexpr (std::is_same_v<T, float> && std::is_same_v<To, float>) {
      for (; count_i % 4 == 0 && j + 4 <= count_j; j += 4)
        for (int64_t i = 0; i < count_i; i += 4)
          transpose_square(from + i + j * stride_j, stride_j, to + i * width + j, width);
    }
    for (; j < count_j; ++j)
      for (int64_t i = 0; i < whole; i += kStep<To>)
        std::memcpy(to + i * width + j * kStep<To>, from + i + j * stride_j,
                    kStep<To> * sizeof(To));
  } else {
    for (int64_t j = 0; j < count_j; ++j)
      for (int64_t i = 0; i < whole; ++i) copy(i, j);
  }
  for (int64_t i = whole; i < count_i; ++i)
    for (int64_t j = 0; j < count_j; ++j) copy(i, j);
}

/// The source with its border, in `copy` if one is needed; points at the first border pixel.
template <class T>
const T* bordered(const Source& s, const T* x, T* copy) {
  if (!s.copied) return x;
  const int64_t height = s.h + s.rows.before + s.rows.after;
  const int64_t left = s.columns.before * s.pixel(), middle = s.w * s.pixel();
  const int64_t right = s.columns.after * s.pixel();
  parallel_for_each(s.n * height, std::max<int64_t>(1, 65536 / s.row()), [&](int64_t i) {
    T* target = copy + i * s.row();
    const int64_t y = i % height - s.rows.before;
    if (y < 0 || y >= s.h) {
      std::fill_n(target, s.row(), T{});
      return;
    }
    std::fill_n(target, left, T{});
    const T* row = x + ((i / height) * s.h + y) * s.w * s.c;
    target += left;
    if (s.padded == s.c) {
      std::copy_n(row, middle, target);
    } else {
      std::fill_n(target, middle, T{});
      for (int64_t p = 0; p < s.w; ++p) std::copy_n(row + p * s.c, s.c, target + p * s.padded);
    }
    std::fill_n(target + middle, right, T{});
  });
  std::fill_n(copy + s.n * s.image(), kMaxTileWidth, T{});
  return copy;
}

/// Epilogue::residual for results at y.
template <class T>
int64_t distance_to(const void* residual, const T* y) {
  return residual ? static_cast<const T*>(residual) - y : 0;
}

/// Sums as results: copied or rounded.
template <class T>
void store_sums(int64_t n, const Compute<T>* sums, T* results) {
  if constexpr (sizeof(T) == sizeof(Compute<T>)) {
    std::copy_n(sums, n, results);
  } else {
    isa().convert.narrow(n, sums, results);
  }
}

/// Whether the result of a pass goes past the caches.
template <class T>
bool streams(const Conv2dGeometry& g, ConvPass pass, const T* y) {
  constexpr int64_t kStreamedBytes = 4 << 20;
  const bool backward = pass == ConvPass::kInputGrad;
  const int64_t channels = backward ? g.c : g.o, item = sizeof(T);
  return past_caches(y, g.n * channels * (backward ? g.h * g.w : g.oh * g.ow) * item,
                     kStreamedBytes, channels / g.groups * item);
}

}  // namespace striate::cpu
