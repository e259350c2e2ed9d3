// What element-wise kernels share: work division, strided index spaces, element types.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <cstdlib>
#include <launch.cuh>  // cuda/device's, or a host harness's
#include <limits>
#include <type_traits>

#include "division.h"

namespace striate::cuda {

// --- Work division ------------------------------------------------------------------------------

inline constexpr int kThreads = 256;
inline constexpr int kItems = 4;  // per thread: independent loads in flight hide memory latency

/// Calls body(i) once for every i in [0, n) over a grid that launch_items() made, with the same
/// kPerThread. Neighbouring threads get neighbouring items.
template <int kPerThread = kItems, class Index, class Body>
__device__ void for_each_item(Index n, Body body) {
  const Index first = static_cast<Index>(blockIdx.x) * (kThreads * kPerThread) + threadIdx.x;
#pragma unroll
  for (int k = 0; k < kPerThread; ++k) {
    const Index i = first + k * kThreads;
    if (i < n) body(i);
  }
}

template <class... Params>
void launch_blocks(const char* name, void (*kernel)(Params...), int64_t blocks, dim3 threads,
                   Stream stream, std::type_identity_t<Params>... args) {
  if (blocks == 0) return;
  launch(name, kernel, dim3(static_cast<unsigned>(blocks)), threads, 0, stream, args...);
}

template <int kPerThread = kItems, class... Params>
void launch_items(const char* name, void (*kernel)(Params...), int64_t n, Stream stream,
                  std::type_identity_t<Params>... args) {
  launch_blocks(name, kernel, ceil_div(n, kThreads * kPerThread), dim3(kThreads), stream, args...);
}

// --- Strided index spaces -----------------------------------------------------------------------

/// Sizes and element strides of `kOperands` arrays. Index is int32_t where all offsets fit, since
/// 64-bit division is several times slower.
template <int kOperands, class Index>
struct StridedSpace {
  int rank;
  Index numel;
  Index shape[kMaxDims];
  Index strides[kOperands][kMaxDims];

  /// Offsets of item i, counted in row-major order.
  __device__ void offsets(Index i, Index (&offset)[kOperands]) const {
#pragma unroll
    for (int operand = 0; operand < kOperands; ++operand) offset[operand] = 0;
#pragma unroll
    for (int d = kMaxDims - 1; d >= 0; --d) {
      if (d >= rank) continue;
      const Index rest = d > 0 ? i / shape[d] : 0;
      const Index position = i - rest * shape[d];
#pragma unroll
      for (int operand = 0; operand < kOperands; ++operand) {
        offset[operand] += position * strides[operand][d];
      }
      i = rest;
    }
  }
};

inline int64_t numel(const Dims& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

/// Whether n items, and those that a full last block would have, can be counted in int32_t.
constexpr bool fits_int32(int64_t n) {
  return n <= std::numeric_limits<int32_t>::max() - kThreads * kItems;
}
/// Whether every item and every offset into every operand fits.
template <int kOperands>
bool fits_int32(const Dims& shape, const Dims* const (&strides)[kOperands]) {
  if (!fits_int32(numel(shape))) return false;
  for (const Dims* operand : strides) {
    int64_t span = 0;
    for (int d = 0; d < shape.size(); ++d) span += (shape[d] - 1) * std::abs((*operand)[d]);
    if (!fits_int32(span)) return false;
  }
  return true;
}
/// Calls body(Index{}) with int32_t if `fits`, else with int64_t.
template <class Body>
void with_index(bool fits, const Body& body) {
  if (fits) {
    body(int32_t{});
  } else {
    body(int64_t{});
  }
}

template <class Index, int kOperands>
StridedSpace<kOperands, Index> make_space(const Dims& shape,
                                          const Dims* const (&strides)[kOperands]) {
  StridedSpace<kOperands, Index> space = {};
  space.rank = shape.size();
  space.numel = static_cast<Index>(numel(shape));
  for (int d = 0; d < shape.size(); ++d) {
    space.shape[d] = static_cast<Index>(shape[d]);
    for (int operand = 0; operand < kOperands; ++operand) {
      space.strides[operand][d] = static_cast<Index>((*strides[operand])[d]);
    }
  }
  return space;
}

/// Calls body(space) with the narrowest index type that will do.
template <int kOperands, class Body>
void with_space(const Dims& shape, const Dims* const (&strides)[kOperands], const Body& body) {
  with_index(fits_int32(shape, strides),
             [&](auto index) { body(make_space<decltype(index)>(shape, strides)); });
}

// --- Element types ------------------------------------------------------------------------------

template <class T>
struct Type {
  using type = T;
};

/// Calls body(Type<T>) with the T that stores `dtype`.
template <class Body>
void with_type(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kFloat32:
      return body(Type<float>{});
    case DType::kFloat64:
      return body(Type<double>{});
    case DType::kBFloat16:
      return body(Type<__nv_bfloat16>{});
    case DType::kInt64:
      return body(Type<int64_t>{});
    case DType::kInt32:
      return body(Type<int32_t>{});
    case DType::kUInt8:
      return body(Type<uint8_t>{});
    case DType::kBool:
      return body(Type<bool>{});
  }
}

/// As above, for floating types alone.
template <class Body>
void with_floating_type(DType dtype, const Body& body) {
  switch (dtype) {
    case DType::kFloat64:
      return body(Type<double>{});
    case DType::kBFloat16:
      return body(Type<__nv_bfloat16>{});
    default:
      return body(Type<float>{});
  }
}
/// As above, for float32 and float64 alone.
template <class Body>
void with_float_type(DType dtype, const Body& body) {
  if (dtype == DType::kFloat64) {
    body(Type<double>{});
  } else {
    body(Type<float>{});
  }
}

/// Calls body(std::integral_constant) with the one of kValues that equals `value`.
template <auto... kValues, class Value, class Body>
void with_value(Value value, const Body& body) {
  ((value == kValues && (body(std::integral_constant<Value, kValues>{}), true)) || ...);
}

/// Conversion between element types, as on the CPU: floating values outside an integer type's
/// range, and NaN, wrap around by way of int64 (its minimum if they do not fit there either).
template <class To, class From>
__host__ __device__ To convert(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, __nv_bfloat16>) {
    return convert<To>(__bfloat162float(value));
  } else if constexpr (std::is_same_v<To, __nv_bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bool>) {
    return value != 0;
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    const bool fits = value >= From(-0x1p63) && value < From(0x1p63);
    return static_cast<To>(fits ? static_cast<int64_t>(value) : INT64_MIN);
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace striate::cuda
