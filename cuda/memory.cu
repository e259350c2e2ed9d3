// Filling, copying and counting. All are bound by memory: one pass, no arithmetic worth naming.
#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

template <class T>
__global__ void fill_kernel(T* y, int64_t n, T value) {
  for_each_item(n, [&](int64_t i) { y[i] = value; });
}

template <class T>
__global__ void arange_kernel(T* y, int64_t n, double start, double step) {
  for_each_item(n, [&](int64_t i) { y[i] = convert<T>(start + static_cast<double>(i) * step); });
}

/// Elements of one type move as plain bits of their size.
template <class Bits, class Index>
__global__ void copy_kernel(const Bits* x, Bits* y, StridedSpace<2, Index> space) {
  for_each_item(space.numel, [&](Index i) {
    Index offset[2];
    space.offsets(i, offset);
    y[offset[1]] = x[offset[0]];
  });
}

template <class From, class Index>
__device__ void store(DType dtype, void* y, Index offset, From value) {
  switch (dtype) {
    case DType::kFloat32:
      static_cast<float*>(y)[offset] = convert<float>(value);
      break;
    case DType::kFloat64:
      static_cast<double*>(y)[offset] = convert<double>(value);
      break;
    case DType::kBFloat16:
      static_cast<__nv_bfloat16*>(y)[offset] = convert<__nv_bfloat16>(value);
      break;
    case DType::kInt64:
      static_cast<int64_t*>(y)[offset] = convert<int64_t>(value);
      break;
    case DType::kInt32:
      static_cast<int32_t*>(y)[offset] = convert<int32_t>(value);
      break;
    case DType::kUInt8:
      static_cast<uint8_t*>(y)[offset] = convert<uint8_t>(value);
      break;
    case DType::kBool:
      static_cast<bool*>(y)[offset] = convert<bool>(value);
      break;
  }
}

/// The target type is a run-time switch, the same for all threads: 49 pairs would be 98 kernels.
template <class From, class Index>
__global__ void convert_kernel(const From* x, void* y, DType y_dtype,
                               StridedSpace<2, Index> space) {
  for_each_item(space.numel, [&](Index i) {
    Index offset[2];
    space.offsets(i, offset);
    store(y_dtype, y, offset[1], x[offset[0]]);
  });
}

// --- Launchers ----------------------------------------------------------------------------------

/// Calls body(Type<B>) with the unsigned integer of `bytes` bytes.
template <class Body>
void with_bits(size_t bytes, const Body& body) {
  switch (bytes) {
    case 1:
      return body(Type<uint8_t>{});
    case 2:
      return body(Type<uint16_t>{});
    case 4:
      return body(Type<uint32_t>{});
    default:
      return body(Type<uint64_t>{});
  }
}

bool is_block(const CopyArgs& a) {
  return a.shape.size() == 1 && a.x_strides[0] == 1 && a.y_strides[0] == 1;
}

}  // namespace

void fill(const FillArgs& a, Stream stream) {
  with_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items("fill", fill_kernel<T>, a.n, stream, static_cast<T*>(a.y), a.n,
                 convert<T>(a.value));
  });
}

void arange(const ArangeArgs& a, Stream stream) {
  with_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    launch_items("arange", arange_kernel<T>, a.n, stream, static_cast<T*>(a.y), a.n, a.start,
                 a.step);
  });
}

void copy(const CopyArgs& a, Stream stream) {
  const size_t item = item_size(a.x_dtype);
  if (a.x_dtype == a.y_dtype && is_block(a)) {
    check(cudaMemcpyAsync(a.y, a.x, static_cast<size_t>(a.shape[0]) * item,
                          cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream.handle)),
          "copy");
    return;
  }
  with_space<2>(a.shape, {&a.x_strides, &a.y_strides}, [&](const auto& space) {
    using Space = std::remove_cvref_t<decltype(space)>;
    using Index = decltype(Space::numel);
    if (a.x_dtype == a.y_dtype) {
      with_bits(item, [&](auto type) {
        using Bits = typename decltype(type)::type;
        launch_items("copy", copy_kernel<Bits, Index>, space.numel, stream,
                     static_cast<const Bits*>(a.x), static_cast<Bits*>(a.y), space);
      });
    } else {
      with_type(a.x_dtype, [&](auto type) {
        using From = typename decltype(type)::type;
        launch_items("copy", convert_kernel<From, Index>, space.numel, stream,
                     static_cast<const From*>(a.x), a.y, a.y_dtype, space);
      });
    }
  });
}

}  // namespace striate::cuda
