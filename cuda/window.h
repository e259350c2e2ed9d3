// Which inputs a pooling's window covers, and which windows cover an input, along one axis.
// constexpr, so that nvcc (--expt-relaxed-constexpr) may call it on the device and a test on the
// host.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace striate::cuda {

template <class Index>
struct WindowAxis {
  Index size, outputs, kernel, stride, pad, dilation;
  bool adaptive, count_include_pad;
};

/// The `count` inputs first, first + step, ... lie inside; an average counts `extent` of them.
template <class Index>
struct Window {
  Index first, step, count, extent;
};

template <class Index>
constexpr Window<Index> window_at(const WindowAxis<Index>& axis, Index output) {
  const auto ceil_div = [](Index a, Index b) { return (a + b - 1) / b; };
  if (axis.adaptive) {
    const Index begin = static_cast<Index>(static_cast<int64_t>(output) * axis.size / axis.outputs);
    const Index end = static_cast<Index>(
        (static_cast<int64_t>(output + 1) * axis.size + axis.outputs - 1) / axis.outputs);
    return {begin, 1, end - begin, end - begin};
  }
  const Index start = output * axis.stride - axis.pad;
  const Index stop = start + (axis.kernel - 1) * axis.dilation + 1;
  const Index skipped = start < 0 ? ceil_div(-start, axis.dilation) : 0;
  const Index outside = stop > axis.size ? ceil_div(stop - axis.size, axis.dilation) : 0;
  const Index count = axis.kernel - skipped - outside;
  Window<Index> window{start + skipped * axis.dilation, axis.dilation, count > 0 ? count : 0, 0};
  const Index padded = axis.size + axis.pad;
  window.extent = axis.count_include_pad ? (stop < padded ? stop : padded) - start : window.count;
  return window;
}

/// Outputs [begin, end) whose windows reach across an input; with a dilation some skip it.
template <class Index>
struct OutputRange {
  Index begin, end;
};

template <class Index>
constexpr OutputRange<Index> windows_across(const WindowAxis<Index>& axis, Index input) {
  if (axis.adaptive) {
    const int64_t end = static_cast<int64_t>(input + 1) * axis.outputs + axis.size - 1;
    return {static_cast<Index>(static_cast<int64_t>(input) * axis.outputs / axis.size),
            static_cast<Index>(end / axis.size)};
  }
  const Index reach = (axis.kernel - 1) * axis.dilation, last = input + axis.pad;
  const Index begin = last > reach ? (last - reach + axis.stride - 1) / axis.stride : 0;
  const Index end = last / axis.stride + 1;
  return {begin, end < axis.outputs ? end : axis.outputs};
}

}  // namespace striate::cuda
