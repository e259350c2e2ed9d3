// What launchers call besides launch(): the few functions of the CUDA runtime, and the device's
// memory, of which every block is exactly as long as asked for.
#include "runtime.h"

#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>

extern "C" {
cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind,
                            cudaStream_t) {
  std::memcpy(target, source, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* target, int value, size_t bytes, cudaStream_t) {
  std::memset(target, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
const char* cudaGetErrorName(cudaError_t) { return "an error"; }
}

namespace striate::cuda {

void* allocate_scratch(size_t bytes, Device) {
  void* data = nullptr;
  if (posix_memalign(&data, 64, bytes) != 0) return nullptr;
  return std::memset(data, 0xFF, bytes);
}

void deallocate_scratch(void* data, size_t, Device) { std::free(data); }

}  // namespace striate::cuda
