// Softmax over the middle of x [outer][n][inner], and its gradient. Where inner is 1 a warp or a
// block has a row, and reads it again from the cache for each of its passes; otherwise
// neighbouring threads have neighbouring columns.
#include <cmath>

#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- A team of threads --------------------------------------------------------------------------

constexpr int kWarp = 32;

/// kThreadsPerRow threads that share a row: 1, a warp or a block. Threads of a warp or block whose
/// row does not exist must take part in joining.
template <int kThreadsPerRow>
struct Team {
  /// Joins the values of the team's threads in a fixed order, for all of them.
  template <class C, class Function>
  static __device__ C join(C value, Function function) {
    if constexpr (kThreadsPerRow > 1) {
#pragma unroll
      for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        value = function(value, __shfl_xor_sync(~0u, value, distance));
      }
    }
    if constexpr (kThreadsPerRow > kWarp) {
      constexpr int kWarps = kThreadsPerRow / kWarp;
      __shared__ C shared[kWarps];
      if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
      __syncthreads();
      value = shared[0];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) value = function(value, shared[w]);
      __syncthreads();  // the next call overwrites
    }
    return value;
  }
};

/// Blocks of this many terms are added in the type of the terms, their sums in double.
constexpr int kBlock = 16;

/// Sum of term(i) for i = first, first + step, ... below n.
template <class C, class Function>
__device__ double sum_terms(int64_t first, int64_t step, int64_t n, Function term) {
  double total = 0;
  for (int64_t i = first; i < n; i += kBlock * step) {
    C sum = 0;
    const int64_t end = i + kBlock * step < n ? i + kBlock * step : n;
    for (int64_t j = i; j < end; j += step) sum += term(j);
    total += sum;
  }
  return total;
}

// --- Kernels ------------------------------------------------------------------------------------

struct Add {
  __device__ double operator()(double a, double b) const { return a + b; }
};
struct Larger {
  template <class C>
  __device__ C operator()(C a, C b) const {
    return a > b ? a : b;
  }
};

struct Shape {
  int64_t rows, n, inner;
  bool log;
};

/// The thread's row of x, its first element and whether it exists.
template <int kThreadsPerRow>
struct Position {
  int64_t offset;
  int first;
  bool exists;

  __device__ explicit Position(const Shape& shape) {
    const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const int64_t row = thread / kThreadsPerRow;
    offset = row / shape.inner * shape.n * shape.inner + row % shape.inner;
    first = static_cast<int>(thread % kThreadsPerRow);
    exists = row < shape.rows;
  }
};

/// A NaN is skipped in the maximum and comes back through the sum.
template <int kThreadsPerRow, class T>
__global__ void softmax_kernel(const T* x, T* y, Shape shape) {
  using C = Compute<T>;
  const Position<kThreadsPerRow> at(shape);
  const int64_t n = at.exists ? shape.n : 0;
  const auto value = [&](int64_t i) { return convert<C>(x[at.offset + i * shape.inner]); };
  C largest = -INFINITY;
  for (int64_t i = at.first; i < n; i += kThreadsPerRow) largest = Larger()(value(i), largest);
  largest = Team<kThreadsPerRow>::join(largest, Larger());
  const double total = Team<kThreadsPerRow>::join(
      sum_terms<C>(at.first, kThreadsPerRow, n, [&](int64_t i) { return exp(value(i) - largest); }),
      Add());
  const C sum = static_cast<C>(total), factor = shape.log ? log(sum) : 1 / sum;
  for (int64_t i = at.first; i < n; i += kThreadsPerRow) {
    const C shifted = value(i) - largest;
    y[at.offset + i * shape.inner] =
        convert<T>(shape.log ? shifted - factor : exp(shifted) * factor);
  }
}

/// grad_x = grad_y - exp(y) * sum of grad_y, or y * (grad_y - sum of grad_y * y).
template <int kThreadsPerRow, class T>
__global__ void softmax_backward_kernel(const T* grad_y, const T* y, T* grad_x, Shape shape) {
  using C = Compute<T>;
  const Position<kThreadsPerRow> at(shape);
  const int64_t n = at.exists ? shape.n : 0;
  const auto value = [&](const T* array, int64_t i) {
    return convert<C>(array[at.offset + i * shape.inner]);
  };
  const auto term = [&](int64_t i) {
    return shape.log ? value(grad_y, i) : value(grad_y, i) * value(y, i);
  };
  const C sum = static_cast<C>(
      Team<kThreadsPerRow>::join(sum_terms<C>(at.first, kThreadsPerRow, n, term), Add()));
  for (int64_t i = at.first; i < n; i += kThreadsPerRow) {
    const C g = value(grad_y, i), v = value(y, i);
    grad_x[at.offset + i * shape.inner] = convert<T>(shape.log ? g - exp(v) * sum : v * (g - sum));
  }
}

// --- Launchers ----------------------------------------------------------------------------------

/// Calls body(integral_constant<int, threads per row>).
template <class Body>
void with_team(const Shape& shape, const Body& body) {
  constexpr int64_t kWarpRow = 2048;  // longer rows get a block
  if (shape.inner > 1) {
    body(std::integral_constant<int, 1>{});
  } else if (shape.n <= kWarpRow) {
    body(std::integral_constant<int, kWarp>{});
  } else {
    body(std::integral_constant<int, kThreads>{});
  }
}

}  // namespace

void softmax(const SoftmaxArgs& a, Stream stream) {
  const Shape shape = {a.outer * a.inner, a.n, a.inner, a.log};
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_team(shape, [&](auto team) {
      launch_blocks("softmax", softmax_kernel<team(), T>, ceil_div(shape.rows * team(), kThreads),
                    dim3(kThreads), stream, static_cast<const T*>(a.x), static_cast<T*>(a.y),
                    shape);
    });
  });
}

void softmax_backward(const SoftmaxBackwardArgs& a, Stream stream) {
  const Shape shape = {a.outer * a.inner, a.n, a.inner, a.log};
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_team(shape, [&](auto team) {
      launch_blocks("softmax", softmax_backward_kernel<team(), T>,
                    ceil_div(shape.rows * team(), kThreads), dim3(kThreads), stream,
                    static_cast<const T*>(a.grad_y), static_cast<const T*>(a.y),
                    static_cast<T*>(a.grad_x), shape);
    });
  });
}

}  // namespace striate::cuda
