// Sums and maxima. Bound by memory.
#include <utility>

#include "entries.h"
#include "reduce.cuh"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Operations ---------------------------------------------------------------------------------

/// Floating terms are added four at a time in their own type and then in double, whose additions a
/// GPU may do at a small fraction of the rate.
template <class X, class Index>
struct Sum {
  static constexpr bool kFloating = std::is_floating_point_v<Compute<X>>;
  using Value = std::conditional_t<kFloating, double, uint64_t>;
  using Term = std::conditional_t<kFloating, Compute<X>, uint64_t>;
  using Y = std::conditional_t<kFloating, X, int64_t>;
  const X* x;
  Y* y;
  StridedSpace<2, Index> kept;  // of x and y
  StridedSpace<1, Index> reduced;
  double scale;

  __device__ Value none() const { return 0; }
  __device__ Term no_term() const { return 0; }
  __device__ Index row(int64_t output) const {
    Index offset[2];
    kept.offsets(static_cast<Index>(output), offset);
    return offset[0];
  }
  __device__ Term load(Index row, int64_t i) const {
    Index offset[1];
    reduced.offsets(static_cast<Index>(i), offset);
    return convert<Term>(x[row + offset[0]]);
  }
  __device__ void add(Value& value, const Term (&t)[4]) const {
    value += static_cast<Value>((t[0] + t[1]) + (t[2] + t[3]));
  }
  __device__ void join(Value& value, Value other) const { value += other; }
  __device__ void store(int64_t output, Value value) const {
    Index offset[2];
    kept.offsets(static_cast<Index>(output), offset);
    if constexpr (kFloating) {
      y[offset[1]] = convert<X>(static_cast<Compute<X>>(scale * value));
    } else {
      y[offset[1]] = static_cast<int64_t>(value);
    }
  }
};

/// A value and where it stands; index -1 stands for none.
template <class C>
struct Best {
  C value;
  int64_t index;

  /// A NaN is greater than any number; of equals the first counts, so the order does not.
  __device__ bool beats(const Best& other) const {
    if (index < 0 || other.index < 0) return index >= 0;
    const bool nan = value != value, other_nan = other.value != other.value;
    if (nan != other_nan) return nan;
    if (value > other.value || value < other.value) return value > other.value;
    return index < other.index;
  }
};

template <class X>
struct Max {
  using Value = Best<Compute<X>>;
  using Term = Value;
  const X* x;  // [outer][n][inner]
  X* values;
  int64_t* indices;
  int64_t n, inner;

  __device__ Value none() const { return {Compute<X>(0), -1}; }
  __device__ Term no_term() const { return none(); }
  __device__ int64_t row(int64_t output) const {
    return output / inner * n * inner + output % inner;
  }
  __device__ Term load(int64_t row, int64_t i) const {
    return {convert<Compute<X>>(x[row + i * inner]), i};
  }
  __device__ void add(Value& value, const Term (&terms)[4]) const {
#pragma unroll
    for (int q = 0; q < 4; ++q) join(value, terms[q]);
  }
  __device__ void join(Value& value, const Value& other) const {
    if (other.beats(value)) value = other;
  }
  __device__ void store(int64_t output, const Value& value) const {
    if (values != nullptr) values[output] = convert<X>(value.value);
    if (indices != nullptr) indices[output] = value.index;
  }
};

// --- Kernels ------------------------------------------------------------------------------------

/// Every element looks whether it was the maximum.
template <class T, class Index>
__global__ void max_backward_kernel(const T* grad_y, const int64_t* indices, T* grad_x, Index numel,
                                    Index n, Index inner) {
  for_each_item(numel, [&](Index i) {
    const Index row = i / inner, output = row / n * inner + i % inner;
    grad_x[i] = indices[output] == row % n ? grad_y[output] : convert<T>(0.0f);
  });
}

// --- Launchers ----------------------------------------------------------------------------------

/// Puts the kept dimensions into the order of x's memory, and gives their strides in the dense y.
Dims order_kept(Dims& shape, Dims& x_strides) {
  Dims y_strides = Dims::filled(shape.size(), 1);
  for (int d = shape.size() - 2; d >= 0; --d) y_strides[d] = y_strides[d + 1] * shape[d + 1];
  for (int i = 1; i < shape.size(); ++i) {
    for (int j = i; j > 0 && x_strides[j] > x_strides[j - 1]; --j) {
      for (Dims* dims : {&shape, &x_strides, &y_strides}) std::swap((*dims)[j], (*dims)[j - 1]);
    }
  }
  return y_strides;
}

}  // namespace

void sum(const SumArgs& a, Stream stream) {
  Dims kept = a.kept, kept_strides = a.kept_strides;
  const Dims y_strides = order_kept(kept, kept_strides);
  const int64_t count = numel(kept);
  const bool along_reduced =
      count == 1 || (!a.reduced.empty() && a.reduced_strides.back() < kept_strides.back());
  const ReductionPlan plan = plan_reduction(count, numel(a.reduced), along_reduced);
  const bool fits =
      fits_int32(kept, {&kept_strides, &y_strides}) && fits_int32(a.reduced, {&a.reduced_strides});
  with_type(a.x_dtype, [&](auto type) {
    with_index(fits, [&](auto index) {
      using Index = decltype(index);
      using Operation = Sum<typename decltype(type)::type, Index>;
      reduce("sum",
             Operation{static_cast<decltype(Operation::x)>(a.x),
                       static_cast<decltype(Operation::y)>(a.y),
                       make_space<Index>(kept, {&kept_strides, &y_strides}),
                       make_space<Index>(a.reduced, {&a.reduced_strides}), a.scale},
             plan, stream);
    });
  });
}

void max(const MaxArgs& a, Stream stream) {
  const ReductionPlan plan = plan_reduction(a.outer * a.inner, a.n, a.inner == 1);
  with_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    reduce("max",
           Max<T>{static_cast<const T*>(a.x), static_cast<T*>(a.values), a.indices, a.n, a.inner},
           plan, stream);
  });
}

void max_backward(const MaxBackwardArgs& a, Stream stream) {
  const int64_t count = a.outer * a.n * a.inner;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_index(fits_int32(count), [&](auto index) {
      launch_items("max_backward", max_backward_kernel<T, decltype(index)>, count, stream,
                   static_cast<const T*>(a.grad_y), a.indices, static_cast<T*>(a.grad_x), count,
                   a.n, a.inner);
    });
  });
}

}  // namespace striate::cuda
