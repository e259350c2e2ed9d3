// Gathering rows, adding them back, and checking indices before anything is read through them.
#include "entries.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// Rows of `row` units; a unit is as many bytes as sizes and addresses let a thread move at once.
/// An index out of range, which only a graph may bring here, gives zeros and no stray read.
template <class Unit, class Index>
__global__ void index_select_kernel(const Unit* x, const int64_t* indices, Unit* y, Index units,
                                    Index n, Index row, Index count) {
  for_each_item(units, [&](Index i) {
    const Index k = i / row, outer = k / count;
    const int64_t index = indices[k - outer * count];
    const bool valid = index >= 0 && index < n;
    y[i] = valid ? x[(outer * n + static_cast<Index>(index)) * row + i % row] : Unit{};
  });
}

constexpr int kWarp = 32, kColumns = 4 * kWarp;  // of a row, that a warp sums

/// A warp looks through all indices for its row and adds what it finds in their order. There are
/// as many looks as rows times indices, but these stay in cache, and nothing has to be sorted.
template <class T>
__global__ void index_select_backward_kernel(const T* grad_y, const int64_t* indices, T* grad_x,
                                             int64_t n, int64_t inner, int64_t count,
                                             int64_t column_blocks, int64_t warps) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (warp >= warps) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = warp / column_blocks, outer = row / n, own = row % n;
  const int64_t first = warp % column_blocks * kColumns + lane;
  T sum[4] = {};
  for (int64_t base = 0; base < count; base += kWarp) {
    const bool hit = base + lane < count && indices[base + lane] == own;
    for (unsigned hits = __ballot_sync(~0u, hit); hits != 0; hits &= hits - 1) {
      const int64_t k = base + __ffs(static_cast<int>(hits)) - 1;
      const T* source = grad_y + (outer * count + k) * inner;
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const int64_t column = first + q * kWarp;
        if (column < inner) sum[q] += source[column];
      }
    }
  }
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    const int64_t column = first + q * kWarp;
    if (column < inner) grad_x[row * inner + column] = sum[q];
  }
}

/// The first position of a bad index.
struct FindOutOfRange {
  using Value = int64_t;
  using Term = int64_t;
  const int64_t* indices;
  int64_t low, high, ignore;
  int64_t* bad;

  __device__ Value none() const { return INT64_MAX; }
  __device__ Term no_term() const { return INT64_MAX; }
  __device__ int64_t row(int64_t) const { return 0; }
  __device__ Term load(int64_t, int64_t i) const {
    const int64_t index = indices[i];
    return (index < low || index >= high) && index != ignore ? i : none();
  }
  __device__ void add(Value& value, const Term (&terms)[4]) const {
#pragma unroll
    for (int q = 0; q < 4; ++q) join(value, terms[q]);
  }
  __device__ void join(Value& value, Value other) const { value = other < value ? other : value; }
  __device__ void store(int64_t, Value value) const { *bad = value == none() ? -1 : value; }
};

// --- Launchers ----------------------------------------------------------------------------------

/// The largest power of two, at most 16, that divides `bytes` and the addresses.
template <class... Pointers>
size_t unit_size(size_t bytes, Pointers... pointers) {
  const size_t bits = (reinterpret_cast<uintptr_t>(pointers) | ... | bytes) | 16;
  return bits & ~(bits - 1);
}

}  // namespace

void index_select(const IndexSelectArgs& a, Stream stream) {
  const size_t bytes = static_cast<size_t>(a.inner) * item_size(a.dtype);
  if (bytes == 0) return;
  const auto run = [&]<class Unit>(Unit) {
    const int64_t row = static_cast<int64_t>(bytes / sizeof(Unit));
    const int64_t units = a.outer * a.count * row;
    with_index(fits_int32(units) && fits_int32(a.outer * a.n * row), [&](auto index) {
      launch_items("index_select", index_select_kernel<Unit, decltype(index)>, units, stream,
                   static_cast<const Unit*>(a.x), a.indices, static_cast<Unit*>(a.y), units, a.n,
                   row, a.count);
    });
  };
  switch (unit_size(bytes, a.x, a.y)) {
    case 16:
      return run(Vector<uint64_t, 2>{});
    case 8:
      return run(uint64_t{});
    case 4:
      return run(uint32_t{});
    case 2:
      return run(uint16_t{});
    default:
      return run(uint8_t{});
  }
}

void index_select_backward(const IndexSelectBackwardArgs& a, Stream stream) {
  const int64_t column_blocks = ceil_div(a.inner, kColumns);
  const int64_t warps = a.outer * a.n * column_blocks;
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_blocks("index_select_backward", index_select_backward_kernel<T>,
                  ceil_div(warps, kThreads / kWarp), dim3(kThreads), stream,
                  static_cast<const T*>(a.grad_y), a.indices, static_cast<T*>(a.grad_x), a.n,
                  a.inner, a.count, column_blocks, warps);
  });
}

void find_out_of_range(const FindOutOfRangeArgs& a, Stream stream) {
  reduce("find_out_of_range", FindOutOfRange{a.indices, a.low, a.high, a.ignore, a.bad},
         plan_reduction(1, a.n, true), stream);
}

}  // namespace striate::cuda
