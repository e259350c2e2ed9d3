// The only way to start a kernel, so that a host harness can put its own in this file's place.
#pragma once

#include <cuda_runtime.h>

#include "../check.h"
#include "striate/types.h"

namespace striate::cuda {

/// The bytes that launch() was asked for, aligned to 128.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

/// Queues kernel(args...) on a stream of the current device; `name` is the op's, for messages.
template <class... Params>
void launch(const char* name, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
            Stream stream, Params... args) {
  constexpr size_t kSharedByDefault = 48 << 10;
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kSharedByDefault) {
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          name);
  }
  void* pointers[] = {&args...};
  last_kernel = name;
  check(cudaLaunchKernel(function, grid, block, pointers, shared_bytes,
                         static_cast<cudaStream_t>(stream.handle)),
        name);
}

}  // namespace striate::cuda
