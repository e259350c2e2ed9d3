// Pooling, one row of one image at a time; see isa/rows_pool.cpp for the windows.
#include <algorithm>
#include <vector>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

PoolGrid grid_of(const Pool2dGeometry& g, bool adaptive = false) {
  return {{g.h, g.oh, g.kh, g.stride_h, g.pad_h, g.dilation_h, adaptive, nullptr},
          {g.w, g.ow, g.kw, g.stride_w, g.pad_w, g.dilation_w, adaptive, nullptr},
          g.c};
}

/// The grid of an average, and what its windows count.
struct AverageGrid {
  PoolGrid grid;
  std::vector<int64_t> rows, columns;

  AverageGrid(const Pool2dGeometry& g, bool count_include_pad, bool adaptive)
      : grid(grid_of(g, adaptive)),
        rows(counted(grid.rows, count_include_pad)),
        columns(counted(grid.columns, count_include_pad)) {
    grid.rows.counted = rows.data();
    grid.columns.counted = columns.data();
  }
  static std::vector<int64_t> counted(const PoolAxis& axis, bool padding) {
    std::vector<int64_t> result(axis.out);
    for (int64_t i = 0; i < axis.out; ++i) {
      const int64_t start = axis.adaptive ? i * axis.in / axis.out : i * axis.stride - axis.pad;
      const int64_t stop =
          axis.adaptive ? ceil_div((i + 1) * axis.in, axis.out) : start + axis.kernel;
      result[i] = padding ? std::min(stop, axis.in + axis.pad) - start
                          : std::min(stop, axis.in) - std::max<int64_t>(start, 0);
    }
    return result;
  }
};

/// Whether every pixel of the image lies in exactly one window.
bool tiled(const PoolGrid& grid) {
  const auto tiles = [](const PoolAxis& axis) {
    return axis.stride == axis.kernel && axis.out * axis.kernel == axis.in && axis.pad == 0 &&
           axis.dilation == 1;
  };
  return tiles(grid.rows) && tiles(grid.columns);
}

/// Calls run(row, first element of the input image, first element of the output image) for the rows
/// of every image: those of the output or, with `of_input`, of the input.
template <class Run>
void for_each_row(const Pool2dGeometry& g, const PoolGrid& grid, bool of_input, const Run& run) {
  const int64_t rows = of_input ? g.h : g.oh, in = g.h * g.w * g.c, out = g.oh * g.ow * g.c;
  const int64_t reads = grid.rows.adaptive ? in : out * g.kh * g.kw;
  const int64_t work = std::max(in, reads) / std::max<int64_t>(rows, 1);
  parallel_for_each(g.n * rows, grain_for(work),
                    [&](int64_t i) { run(i % rows, i / rows * in, i / rows * out); });
}

}  // namespace

void max_pool2d(const MaxPool2dArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const PoolGrid grid = grid_of(args.g);
    for_each_row(args.g, grid, false, [&](int64_t row, int64_t in, int64_t out) {
      isa().rows<T>().pool.max(grid, row, args.relu, static_cast<const T*>(args.x) + in,
                               static_cast<T*>(args.y) + out,
                               args.argmax == nullptr ? nullptr : args.argmax + out);
    });
  });
}

void max_pool2d_backward(const MaxPool2dBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const PoolKernels<T>& kernels = isa().rows<T>().pool;
    const PoolGrid grid = grid_of(args.g);
    const bool scatters = tiled(grid);  // which reads each gradient once
    const auto run = scatters ? kernels.max_scatter : kernels.max_gather;
    for_each_row(args.g, grid, !scatters, [&](int64_t row, int64_t in, int64_t out) {
      run(grid, row, static_cast<const T*>(args.grad_y) + out, args.argmax + out,
          static_cast<T*>(args.grad_x) + in);
    });
  });
}

void avg_pool2d(const AvgPool2dArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const AverageGrid average(args.g, args.count_include_pad, args.adaptive);
    const PoolGrid& grid = average.grid;
    for_each_row(args.g, grid, false, [&](int64_t row, int64_t in, int64_t out) {
      isa().rows<T>().pool.average(grid, row, static_cast<const T*>(args.x) + in,
                                   static_cast<T*>(args.y) + out);
    });
  });
}

void avg_pool2d_backward(const AvgPool2dBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const AverageGrid average(args.g, args.count_include_pad, args.adaptive);
    const PoolGrid& grid = average.grid;
    for_each_row(args.g, grid, true, [&](int64_t row, int64_t in, int64_t out) {
      isa().rows<T>().pool.average_gather(grid, row, static_cast<const T*>(args.grad_y) + out,
                                          static_cast<T*>(args.grad_x) + in);
    });
  });
}

}  // namespace striate::cpu
