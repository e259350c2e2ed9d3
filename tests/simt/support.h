// Runs a kernel of the CPU backend and its CUDA twin on copies of the same arrays and compares.
#pragma once

#include <cuda_bf16.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

#include "core/backend.h"
#include "kernels.h"

namespace striate {

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kFloat32;
  if constexpr (std::is_same_v<T, double>) return DType::kFloat64;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return DType::kBFloat16;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kInt64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kInt32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kUInt8;
  if constexpr (std::is_same_v<T, bool>) return DType::kBool;
}

/// The arrays of one call. On the CUDA side, each is exactly as long as it says.
class Arrays {
 public:
  explicit Arrays(size_t readable_past_end) : readable_past_end_(readable_past_end) {}
  Arrays(const Arrays&) = delete;
  ~Arrays() {
    for (const Array& array : arrays_) std::free(array.data);
  }

  /// A copy of the values, which the kernel must leave alone.
  template <class T>
  const T* in(const std::vector<T>& values) {
    return static_cast<const T*>(add(values.data(), values.size() * sizeof(T), Use::kIn));
  }
  /// A copy of the values, which the kernel may change.
  template <class T>
  T* inout(const std::vector<T>& values) {
    return static_cast<T*>(add(values.data(), values.size() * sizeof(T), Use::kOut, dtype_of<T>()));
  }
  /// Values that are NaN, or -1, until the kernel writes them.
  template <class T>
  T* out(int64_t count) {
    return static_cast<T*>(
        add(nullptr, static_cast<size_t>(count) * sizeof(T), Use::kOut, dtype_of<T>()));
  }
  /// As above, but what it holds after the call is not compared.
  void* workspace(size_t bytes) { return add(nullptr, bytes, Use::kWorkspace); }

  void check_inputs_unchanged() const;
  /// Largest |x - y| / max(|y|, 1) allowed of floating values; 0 asks for the same bits.
  void check_same_outputs(const Arrays& expected, double tolerance) const;

 private:
  enum class Use { kIn, kOut, kWorkspace };
  struct Array {
    void* data;
    size_t bytes;
    Use use;
    DType dtype;
    std::vector<std::byte> original;
  };
  void* add(const void* values, size_t bytes, Use use, DType dtype = DType::kUInt8);

  size_t readable_past_end_;
  std::deque<Array> arrays_;
};

/// make(Arrays&) builds the Args of one call.
template <class Args, class Make>
void check_kernel(Kernel<Args> cpu, Kernel<Args> cuda, const Make& make, double tolerance = 0) {
  Arrays expected(64), actual(0);
  cpu(make(expected), Stream{});
  cuda(make(actual), Stream{});
  actual.check_inputs_unchanged();
  actual.check_same_outputs(expected, tolerance);
}

inline const KernelTable& cpu_kernels() { return *cpu_backend().kernels; }

/// `count` integers of [low, high] without a pattern that an indexing error could hide behind.
template <class T>
std::vector<T> integers(int64_t count, int low = -8, int high = 8, uint32_t seed = 1) {
  std::vector<T> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    seed = seed * 1664525 + 1013904223;
    values[i] = static_cast<T>(low + static_cast<int>((seed >> 8) % uint32_t(high - low + 1)));
  }
  return values;
}

}  // namespace striate
