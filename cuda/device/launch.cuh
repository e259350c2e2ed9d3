// The only way to start a kernel, so that a host harness can put its own in this file's place.
#pragma once

#include <cuda_runtime.h>

#include "../check.h"
#include "striate/types.h"

namespace striate::cuda {

/// Queues kernel(args...) on a stream of the current device; `name` is the op's, for messages.
template <class... Params>
void launch(const char* name, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
            Stream stream, Params... args) {
  void* pointers[] = {&args...};
  last_kernel = name;
  check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes,
                         static_cast<cudaStream_t>(stream.handle)),
        name);
}

}  // namespace striate::cuda
