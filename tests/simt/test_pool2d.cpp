// cuda/pool2d.cu against the CPU backend, and the arithmetic of its windows against their
// definition.
#include <cmath>
#include <limits>

#include "entries.h"
#include "support.h"
#include "window.h"

namespace striate {
namespace {

using cuda::WindowAxis;

// --- Windows ------------------------------------------------------------------------------------

void check_axis(const WindowAxis<int32_t>& axis) {
  std::vector<std::vector<bool>> covers(static_cast<size_t>(axis.outputs));
  for (int32_t i = 0; i < axis.outputs; ++i) {
    std::vector<int32_t> inputs;
    int32_t extent = 0;
    if (axis.adaptive) {
      for (int32_t k = 0; k < axis.size; ++k) {
        // k lies in [floor(i * size / outputs), ceil((i + 1) * size / outputs))
        if ((k + 1) * axis.outputs > i * axis.size && k * axis.outputs < (i + 1) * axis.size) {
          inputs.push_back(k);
        }
      }
      extent = static_cast<int32_t>(inputs.size());
    } else {
      for (int32_t k = 0; k < axis.kernel; ++k) {
        const int32_t at = i * axis.stride - axis.pad + k * axis.dilation;
        if (at >= 0 && at < axis.size) inputs.push_back(at);
        if (axis.count_include_pad && at < axis.size + axis.pad) ++extent;
      }
      if (!axis.count_include_pad) extent = static_cast<int32_t>(inputs.size());
    }
    const cuda::Window<int32_t> window = cuda::window_at(axis, i);
    REQUIRE(window.count == static_cast<int32_t>(inputs.size()));
    if (axis.dilation == 1) REQUIRE(window.extent == extent);
    auto& covered = covers[static_cast<size_t>(i)];
    covered.assign(static_cast<size_t>(axis.size), false);
    for (int32_t k = 0; k < window.count; ++k) {
      REQUIRE(window.first + k * window.step == inputs[static_cast<size_t>(k)]);
      covered[static_cast<size_t>(inputs[static_cast<size_t>(k)])] = true;
    }
  }
  for (int32_t input = 0; input < axis.size; ++input) {
    const cuda::OutputRange<int32_t> range = cuda::windows_across(axis, input);
    REQUIRE(range.begin >= 0);
    REQUIRE(range.end <= axis.outputs);
    for (int32_t i = 0; i < axis.outputs; ++i) {
      const bool covered = covers[static_cast<size_t>(i)][static_cast<size_t>(input)];
      const bool reaches = i >= range.begin && i < range.end;
      if (axis.adaptive || axis.dilation == 1) {
        REQUIRE(reaches == covered);
      } else {
        REQUIRE((reaches || !covered));
      }
    }
  }
}

TEST_CASE("windows along an axis, exhaustively") {
  for (int32_t size = 1; size <= 9; ++size) {
    for (int32_t outputs = 1; outputs <= 12; ++outputs) {
      check_axis({size, outputs, 0, 0, 0, 1, true, true});
    }
    for (int32_t kernel = 1; kernel <= 5; ++kernel) {
      for (int32_t stride = 1; stride <= 4; ++stride) {
        for (int32_t pad = 0; pad <= kernel / 2; ++pad) {
          for (int32_t dilation = 1; dilation <= 3; ++dilation) {
            const int32_t free = size + 2 * pad - (kernel - 1) * dilation - 1;
            if (free < 0) continue;
            for (const bool include : {false, true}) {
              check_axis({size, free / stride + 1, kernel, stride, pad, dilation, false, include});
              if (free % stride > 0 && (free / stride + 1) * stride < size + pad) {  // ceil_mode
                check_axis(
                    {size, free / stride + 2, kernel, stride, pad, dilation, false, include});
              }
            }
          }
        }
      }
    }
  }
}

// --- Kernels ------------------------------------------------------------------------------------

Pool2dGeometry geometry(int64_t n, int64_t c, int64_t h, int64_t w, int64_t kernel, int64_t stride,
                        int64_t pad, int64_t dilation = 1) {
  const auto outputs = [&](int64_t size) {
    return (size + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
  };
  return {n,      c,      h,      w,   outputs(h), outputs(w), kernel,
          kernel, stride, stride, pad, pad,        dilation,   dilation};
}

const Pool2dGeometry kPools[] = {
    geometry(1, 1, 1, 1, 1, 1, 0),
    geometry(2, 4, 6, 8, 2, 2, 0),
    geometry(1, 8, 7, 5, 3, 2, 1),
    geometry(2, 5, 6, 6, 3, 1, 1),
    geometry(1, 3, 9, 8, 3, 3, 0, 2),
    geometry(3, 16, 5, 5, 5, 5, 2),
    {1, 4, 7, 4, 3, 4, 3, 1, 3, 1, 1, 0, 1, 1},  // a last window beyond the input; 3 x 1
    geometry(2, 12, 13, 13, 3, 2, 0),
};

template <class T>
void check_max_pool(const Pool2dGeometry& g, const std::vector<T>& x, bool misaligned,
                    bool relu = false) {
  const int64_t outputs = g.n * g.oh * g.ow * g.c;
  std::vector<T> padded = x;
  padded.insert(padded.begin(), misaligned, T(0));
  Arrays expected(64);
  const T* const source = expected.in(x);
  int32_t* const argmax = expected.out<int32_t>(outputs);
  cpu_kernels().max_pool2d({g, dtype_of<T>(), relu, source, expected.out<T>(outputs), argmax},
                           Stream{});
  const std::vector<int32_t> indices(argmax, argmax + outputs);
  for (const bool wanted : {false, true}) {
    check_kernel<MaxPool2dArgs>(cpu_kernels().max_pool2d, cuda::max_pool2d, [&](Arrays& a) {
      return MaxPool2dArgs{g,
                           dtype_of<T>(),
                           relu,
                           a.in(padded) + misaligned,
                           a.out<T>(outputs),
                           wanted ? a.out<int32_t>(outputs) : nullptr};
    });
  }
  const auto grad = integers<T>(outputs, -8, 8, 5);
  check_kernel<MaxPool2dBackwardArgs>(
      cpu_kernels().max_pool2d_backward, cuda::max_pool2d_backward, [&](Arrays& a) {
        return MaxPool2dBackwardArgs{g, dtype_of<T>(), a.in(grad), a.in(indices),
                                     a.out<T>(g.n * g.h * g.w * g.c)};
      });
}

template <class T>
void check_max_pools() {
  for (const Pool2dGeometry& g : kPools) {
    CAPTURE(g.c);
    CAPTURE(g.h);
    const int64_t inputs = g.n * g.h * g.w * g.c;
    check_max_pool<T>(g, integers<T>(inputs, -100, 100), false);
    check_max_pool<T>(g, integers<T>(inputs, -100, 10), false, true);
    check_max_pool<T>(g, integers<T>(inputs, 0, 2), true);  // many ties
  }
}

TEST_CASE("max_pool2d and its gradient") {
  check_max_pools<float>();
  check_max_pools<double>();
  check_max_pools<__nv_bfloat16>();
}

TEST_CASE("max_pool2d of NaN and of infinities") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const Pool2dGeometry& g : kPools) {
    auto x = integers<float>(g.n * g.h * g.w * g.c, 0, 3);
    for (float& value : x) value = value == 3 ? nan : value == 2 ? -inf : value;
    check_max_pool(g, x, false);
    check_max_pool(g, x, false, true);
    check_max_pool(g, std::vector<float>(x.size(), -inf), false);
  }
}

template <class T>
void check_avg_pool(const Pool2dGeometry& g, bool include_pad, bool adaptive) {
  CAPTURE(g.c);
  CAPTURE(g.h);
  CAPTURE(g.oh);
  CAPTURE(adaptive);
  const int64_t inputs = g.n * g.h * g.w * g.c, outputs = g.n * g.oh * g.ow * g.c;
  const auto x = integers<T>(inputs), grad = integers<T>(outputs, -8, 8, 5);
  check_kernel<AvgPool2dArgs>(cpu_kernels().avg_pool2d, cuda::avg_pool2d, [&](Arrays& a) {
    return AvgPool2dArgs{g, dtype_of<T>(), include_pad, adaptive, a.in(x), a.out<T>(outputs)};
  });
  // The CPU adds window by window, which is the order of the gather too.
  check_kernel<AvgPool2dBackwardArgs>(
      cpu_kernels().avg_pool2d_backward, cuda::avg_pool2d_backward, [&](Arrays& a) {
        return AvgPool2dBackwardArgs{g,        dtype_of<T>(), include_pad,
                                     adaptive, a.in(grad),    a.out<T>(inputs)};
      });
}

template <class T>
void check_avg_pools() {
  for (const Pool2dGeometry& g : kPools) {
    if (g.dilation_h != 1) continue;
    for (const bool include_pad : {false, true}) check_avg_pool<T>(g, include_pad, false);
    for (const int64_t outputs : {1, 3, 8}) {
      Pool2dGeometry adaptive = g;  // of the window only the sizes count
      adaptive.oh = outputs;
      adaptive.ow = outputs + 1;
      check_avg_pool<T>(adaptive, true, true);
    }
  }
}

TEST_CASE("avg_pool2d, adaptive too, and its gradient") {
  check_avg_pools<float>();
  check_avg_pools<double>();
  check_avg_pools<__nv_bfloat16>();
}

}  // namespace
}  // namespace striate
