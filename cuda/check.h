// CUDA's status codes as exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>

#include "striate/error.h"

namespace striate::cuda {

/// Kernels run behind the host's back, so an error surfaces at a later call: this names a suspect.
inline std::atomic<const char*> last_kernel = "none";

/// Throws DeviceError, or OutOfMemoryError, naming the call (a kernel or a service) that failed.
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) [[likely]]
    return;
  cudaGetLastError();  // forgets the error, unless it has poisoned the device for good
  require<OutOfMemoryError>(status != cudaErrorMemoryAllocation, call, ": the device has no room");
  fail<DeviceError>(call, ": CUDA reports ", cudaGetErrorString(status), " (",
                    cudaGetErrorName(status), "); last kernel launched: ", last_kernel.load());
}

}  // namespace striate::cuda
