// Filling and copying. A copy visits its target in memory order; where that leaves the source
// strided, 32 x 32 tiles go through a buffer, so that both sides see whole cache lines.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

template <class To, class From>
void convert_run(int64_t n, const From* x, int64_t x_stride, To* y, int64_t y_stride) {
  if (x_stride == 1 && y_stride == 1) {
    if constexpr (std::is_same_v<To, From>) {
      std::memcpy(y, x, n * sizeof(To));
    } else if constexpr (std::is_same_v<To, float> && std::is_same_v<From, BFloat16>) {
      isa().convert.widen(n, x, y);
    } else if constexpr (std::is_same_v<To, BFloat16> && std::is_same_v<From, float>) {
      isa().convert.narrow(n, x, y);
    } else {
      for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = convert<To>(x[i * x_stride]);
  }
}

template <class To, class From>
void copy_runs(const CopyArgs& args) {
  const From* x = static_cast<const From*>(args.x);
  To* y = static_cast<To*>(args.y);
  parallel_for(numel(args.shape), kElementGrain, [&](int64_t begin, int64_t end) {
    for_each_run<2>(args.shape, {&args.x_strides, &args.y_strides}, begin, end,
                    [&](const auto& offsets, int64_t count) {
                      convert_run(count, x + offsets[0], args.x_strides.back(), y + offsets[1],
                                  args.y_strides.back());
                    });
  });
}

constexpr int64_t kTile = 32;

template <class T>
void transpose_tile(int64_t rows, int64_t columns, const T* x, int64_t x_stride, T* y,
                    int64_t y_row, int64_t y_column) {
  T buffer[kTile * kTile];
  for (int64_t j = 0; j < columns; ++j) {
    std::memcpy(buffer + j * kTile, x + j * x_stride, rows * sizeof(T));
  }
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) y[i * y_row + j * y_column] = buffer[j * kTile + i];
  }
}

/// The last dimension is the target's, dimension `along` the one that x walks contiguously.
template <class T>
void transpose(const CopyArgs& args, int along) {
  const int last = args.shape.size() - 1;
  Dims outer, outer_x, outer_y;
  for (int d = 0; d < last; ++d) {
    if (d == along) continue;
    outer.push_back(args.shape[d]);
    outer_x.push_back(args.x_strides[d]);
    outer_y.push_back(args.y_strides[d]);
  }
  // The tiles are the two innermost dimensions of the space that is split among threads.
  const int64_t rows = args.shape[along], columns = args.shape[last];
  const int64_t y_row = args.y_strides[along], y_column = args.y_strides[last];
  const int64_t x_column = args.x_strides[last];
  const int64_t row_tiles = ceil_div(rows, kTile), column_tiles = ceil_div(columns, kTile);
  const int64_t tiles = row_tiles * column_tiles;
  const int64_t tile_size = std::min(rows, kTile) * std::min(columns, kTile);
  parallel_for_each(numel(outer) * tiles, grain_for(2 * tile_size), [&](int64_t item) {
    const T* source = static_cast<const T*>(args.x);
    T* target = static_cast<T*>(args.y);
    for_each_run<2>(outer, {&outer_x, &outer_y}, item / tiles, item / tiles + 1,
                    [&](const auto& offsets, int64_t) {
                      source += offsets[0];
                      target += offsets[1];
                    });
    const int64_t i = item % tiles / column_tiles * kTile;
    const int64_t j = item % column_tiles * kTile;
    transpose_tile(std::min(kTile, rows - i), std::min(kTile, columns - j),
                   source + i + j * x_column, x_column, target + i * y_row + j * y_column, y_row,
                   y_column);
  });
}

/// The dimension to transpose along, or -1 if runs along the last one are as good.
int transposed_dimension(const CopyArgs& args) {
  const int last = args.shape.size() - 1;
  if (args.x_strides[last] == 1 || args.x_strides[last] == 0) return -1;
  for (int d = 0; d < last; ++d) {
    if (args.x_strides[d] == 1) return d;
  }
  return -1;
}

/// A copy between equal types; a type is its size.
template <class T>
void copy_same(const CopyArgs& args) {
  const int along = transposed_dimension(args);
  along < 0 ? copy_runs<T, T>(args) : transpose<T>(args, along);
}

}  // namespace

void fill(const FillArgs& args, Stream) {
  with_any(args.dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(args.y);
    const T value = convert<T>(args.value);
    parallel_for(args.n, kElementGrain,
                 [=](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
  });
}

void copy(const CopyArgs& args, Stream) {
  if (numel(args.shape) == 0) return;
  if (args.x_dtype == args.y_dtype) {
    switch (item_size(args.x_dtype)) {
      case 1:
        return copy_same<uint8_t>(args);
      case 2:
        return copy_same<uint16_t>(args);
      case 4:
        return copy_same<uint32_t>(args);
      default:
        return copy_same<uint64_t>(args);
    }
  } else {
    with_any(args.x_dtype, [&]<class From>(From) {
      with_any(args.y_dtype, [&]<class To>(To) { copy_runs<To, From>(args); });
    });
  }
}

void arange(const ArangeArgs& args, Stream) {
  with_any(args.dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(args.y);
    parallel_for_each(args.n, kElementGrain, [&](int64_t i) {
      y[i] = convert<T>(args.start + static_cast<double>(i) * args.step);
    });
  });
}

}  // namespace striate::cpu
