// Pooling, one output row of one image at a time; see isa/rows_pool.cpp for the windows.
#include <algorithm>
#include <cstring>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// Output row `oh`, all channels.
PoolRow row_at(const Pool2dGeometry& g, int64_t oh, bool count_include_pad, bool adaptive) {
  PoolRow row{.c = g.c,
              .pixel = g.c,
              .w = g.w,
              .ow = g.ow,
              .kw = g.kw,
              .stride_w = g.stride_w,
              .pad_w = g.pad_w,
              .dilation_w = g.dilation_w,
              .h_first = 0,
              .h_step = 1,
              .h_count = 0,
              .h_extent = 0,
              .count_include_pad = count_include_pad,
              .adaptive = adaptive,
              .disjoint = !adaptive && g.stride_h > (g.kh - 1) * g.dilation_h &&
                          g.stride_w > (g.kw - 1) * g.dilation_w};
  if (adaptive) {
    row.h_first = oh * g.h / g.oh;
    row.h_count = row.h_extent = ceil_div((oh + 1) * g.h, g.oh) - row.h_first;
  } else {
    const int64_t start = oh * g.stride_h - g.pad_h;
    const int64_t stop = start + (g.kh - 1) * g.dilation_h + 1;
    const int64_t skipped = start < 0 ? ceil_div(-start, g.dilation_h) : 0;
    const int64_t outside = stop > g.h ? ceil_div(stop - g.h, g.dilation_h) : 0;
    row.h_first = start + skipped * g.dilation_h;
    row.h_step = g.dilation_h;
    row.h_count = std::max<int64_t>(g.kh - skipped - outside, 0);
    row.h_extent = count_include_pad ? std::min(stop, g.h + g.pad_h) - start : row.h_count;
  }
  return row;
}

/// Calls run(row, image, y_offset) for every output row of every image.
template <class Run>
void for_each_output_row(const Pool2dGeometry& g, bool count_include_pad, bool adaptive,
                         const Run& run) {
  const int64_t work =
      g.ow * g.c *
      (adaptive ? ceil_div(g.h * g.w, std::max<int64_t>(g.oh * g.ow, 1)) : g.kh * g.kw);
  parallel_for(g.n * g.oh, grain_for(work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run(row_at(g, i % g.oh, count_include_pad, adaptive), i / g.oh, i * g.ow * g.c);
    }
  });
}

/// Clears grad_x and calls run(row, x_offset, y_offset) for the output rows of one image in order,
/// since windows may overlap. Threads split images and, where these are few, blocks of channels.
template <class T, class Run>
void for_each_image(const Pool2dGeometry& g, bool count_include_pad, bool adaptive, T* grad_x,
                    const Run& run) {
  constexpr int64_t kManyImages = 16, kBlock = 64;
  const int64_t width = g.n >= kManyImages ? std::max<int64_t>(g.c, 1) : kBlock;
  const int64_t blocks = ceil_div(g.c, width), pixels = g.h * g.w;
  const int64_t work = (pixels + g.oh * g.ow * g.kh * g.kw) * std::min(width, g.c);
  parallel_for(g.n * blocks, grain_for(work), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t image = item / blocks, channel = item % blocks * width;
      const int64_t channels = std::min(width, g.c - channel);
      const int64_t x_offset = image * pixels * g.c + channel;
      if (channels == g.c) {
        std::memset(grad_x + x_offset, 0, pixels * g.c * sizeof(T));
      } else {
        for (int64_t i = 0; i < pixels; ++i)
          std::fill_n(grad_x + x_offset + i * g.c, channels, T(0));
      }
      for (int64_t oh = 0; oh < g.oh; ++oh) {
        PoolRow row = row_at(g, oh, count_include_pad, adaptive);
        row.c = channels;
        run(row, x_offset, (image * g.oh + oh) * g.ow * g.c + channel);
      }
    }
  });
}

/// Calls run(grid, row, y_offset, grad_x) for every input row of every image; y_offset is the
/// image's, grad_x the row's.
template <class T, class Run>
void for_each_input_row(const Pool2dGeometry& g, bool count_include_pad, bool adaptive, T* grad_x,
                        const Run& run) {
  const PoolGrid grid{
      {g.h, g.oh, g.kh, g.stride_h, g.pad_h, g.dilation_h, count_include_pad, adaptive},
      {g.w, g.ow, g.kw, g.stride_w, g.pad_w, g.dilation_w, count_include_pad, adaptive},
      g.c};
  parallel_for(g.n * g.h, grain_for(4 * g.w * g.c), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      run(grid, i % g.h, i / g.h * g.oh * g.ow * g.c, grad_x + i * g.w * g.c);
  });
}

}  // namespace

void max_pool2d(const MaxPool2dArgs& args, Stream) {
  const Pool2dGeometry& g = args.g;
  with_floating(args.dtype, [&]<class T>(T) {
    const PoolKernels<T>& rows = isa().rows<T>().pool;
    for_each_output_row(g, false, false, [&](const PoolRow& row, int64_t image, int64_t y_offset) {
      const T* x = static_cast<const T*>(args.x) + image * g.h * g.w * g.c;
      T* y = static_cast<T*>(args.y) + y_offset;
      if (args.argmax == nullptr) {
        rows.max(row, x, y);
      } else {
        rows.max_index(row, x, y, args.argmax + y_offset);
      }
    });
  });
}

void max_pool2d_backward(const MaxPool2dBackwardArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) {
    return for_each_input_row(
        args.g, false, false, static_cast<BFloat16*>(args.grad_x),
        [&](const PoolGrid& grid, int64_t row, int64_t y_offset, BFloat16* grad_x) {
          isa().rows_bfloat16.pool.max_gather(grid, row,
                                              static_cast<const BFloat16*>(args.grad_y) + y_offset,
                                              args.argmax + y_offset, grad_x);
        });
  }
  with_real(args.dtype, [&]<class T>(T) {
    const PoolKernels<T>& rows = isa().rows<T>().pool;
    T* grad_x = static_cast<T*>(args.grad_x);
    for_each_image(args.g, false, false, grad_x,
                   [&](const PoolRow& row, int64_t x_offset, int64_t y_offset) {
                     rows.max_backward(row, static_cast<const T*>(args.grad_y) + y_offset,
                                       args.argmax + y_offset, grad_x + x_offset);
                   });
  });
}

void avg_pool2d(const AvgPool2dArgs& args, Stream) {
  const Pool2dGeometry& g = args.g;
  with_floating(args.dtype, [&]<class T>(T) {
    const PoolKernels<T>& rows = isa().rows<T>().pool;
    for_each_output_row(g, args.count_include_pad, args.adaptive,
                        [&](const PoolRow& row, int64_t image, int64_t y_offset) {
                          rows.average(row, static_cast<const T*>(args.x) + image * g.h * g.w * g.c,
                                       static_cast<T*>(args.y) + y_offset);
                        });
  });
}

void avg_pool2d_backward(const AvgPool2dBackwardArgs& args, Stream) {
  if (args.dtype == DType::kBFloat16) {
    return for_each_input_row(
        args.g, args.count_include_pad, args.adaptive, static_cast<BFloat16*>(args.grad_x),
        [&](const PoolGrid& grid, int64_t row, int64_t y_offset, BFloat16* grad_x) {
          isa().rows_bfloat16.pool.average_gather(
              grid, row, static_cast<const BFloat16*>(args.grad_y) + y_offset, grad_x);
        });
  }
  with_real(args.dtype, [&]<class T>(T) {
    const PoolKernels<T>& rows = isa().rows<T>().pool;
    T* grad_x = static_cast<T*>(args.grad_x);
    for_each_image(args.g, args.count_include_pad, args.adaptive, grad_x,
                   [&](const PoolRow& row, int64_t x_offset, int64_t y_offset) {
                     rows.average_backward(row, static_cast<const T*>(args.grad_y) + y_offset,
                                           grad_x + x_offset);
                   });
  });
}

}  // namespace striate::cpu
