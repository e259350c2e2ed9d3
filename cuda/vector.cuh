// Vectors of 16 bytes, the most that a thread loads or stores at once, and maps over arrays.
#pragma once

#include "index.cuh"

namespace striate::cuda {

/// What arithmetic on elements of T is done in.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, __nv_bfloat16>, float, T>;

template <class T>
inline constexpr int kLanes = 16 / sizeof(T);

/// Aligned to no more than 16 bytes, which is what is asked of arrays.
template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth < 16 ? sizeof(T) * kWidth : 16) Vector {
  T lane[kWidth];
};

template <int kWidth, class T>
__device__ Vector<Compute<T>, kWidth> load(const T* x) {
  const auto source = *reinterpret_cast<const Vector<T, kWidth>*>(x);
  Vector<Compute<T>, kWidth> v;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) v.lane[k] = convert<Compute<T>>(source.lane[k]);
  return v;
}

template <int kWidth, class T>
__device__ void store(T* y, const Vector<Compute<T>, kWidth>& v) {
  Vector<T, kWidth> target;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) target.lane[k] = convert<T>(v.lane[k]);
  *reinterpret_cast<Vector<T, kWidth>*>(y) = target;
}

/// The first `count` lanes alone, the others being 0; `whole` if all of them at an aligned address.
template <int kWidth, class T>
__device__ Vector<Compute<T>, kWidth> load_part(const T* x, int64_t count, bool whole) {
  if (whole) return load<kWidth>(x);
  Vector<Compute<T>, kWidth> v = {};
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    if (k < count) v.lane[k] = convert<Compute<T>>(x[k]);
  }
  return v;
}

template <int kWidth, class T>
__device__ void store_part(T* y, const Vector<Compute<T>, kWidth>& v, int64_t count, bool whole) {
  if (whole) return store(y, v);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    if (k < count) y[k] = convert<T>(v.lane[k]);
  }
}

inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

/// Calls body(std::integral_constant<int, lanes>) with the widest vector that rows of `c` elements
/// at the given addresses can be cut into: 16 bytes, or one element.
template <class T, class Body, class... Pointers>
void with_width(int64_t c, const Body& body, Pointers... pointers) {
  if (c % kLanes<T> == 0 && (is_aligned(pointers) && ...)) {
    body(std::integral_constant<int, kLanes<T>>{});
  } else {
    body(std::integral_constant<int, 1>{});
  }
}

// --- Maps ---------------------------------------------------------------------------------------

inline constexpr int kMapItems = 2;  // vectors per thread

template <class Function, class T, class... Vectors>
__device__ void store_mapped(const Function& function, T* y, int64_t count, bool whole,
                             const Vectors&... x) {
  Vector<Compute<T>, kLanes<T>> result;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) result.lane[k] = function(x.lane[k]...);
  store_part(y, result, count, whole);
}

template <class Function, class T, class... Ts>
__global__ void map_kernel(Function function, int64_t n, bool aligned, T* y, const Ts*... x) {
  constexpr int kWidth = kLanes<T>;
  for_each_item<kMapItems>((n - 1) / kWidth + 1, [&](int64_t i) {
    const int64_t first = i * kWidth, count = n - first;
    const bool whole = aligned && count >= kWidth;
    store_mapped(function, y + first, count, whole, load_part<kWidth>(x + first, count, whole)...);
  });
}

template <class T, class>
using First = T;

/// y[i] = function(x[i]...) for arrays of T, computed in Compute<T>. y may be one of x.
template <class T, class Function, class... Pointers>
void map(const char* name, int64_t n, Stream stream, const Function& function, void* y,
         Pointers... x) {
  if (n == 0) return;
  const bool aligned = is_aligned(y) && (is_aligned(x) && ...);
  launch_items<kMapItems>(name, map_kernel<Function, T, First<T, Pointers>...>,
                          (n - 1) / kLanes<T> + 1, stream, function, n, aligned, static_cast<T*>(y),
                          static_cast<const T*>(x)...);
}

}  // namespace striate::cuda
