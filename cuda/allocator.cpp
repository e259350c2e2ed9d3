// The caching allocator: blocks of a few sizes per power of two, kept until the device is full.
#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "check.h"
#include "runtime.h"

namespace striate::cuda {
namespace {

struct Pool {
  std::mutex mutex;
  std::map<size_t, std::vector<void*>> free_blocks;  // by size class
  MemoryStats stats;
};

Pool& pool(Device device) {
  // Never destroyed: tensors may outlive main.
  static auto* pools = new std::vector<Pool>(static_cast<size_t>(device_count()));
  return (*pools)[static_cast<size_t>(device.index)];
}

/// Four classes per power of two, so that at most a fifth of a block is waste.
size_t size_class(size_t bytes) {
  constexpr size_t kSmallest = 512;
  constexpr size_t kReadablePastEnd = 64;  // see core/backend.h
  bytes = std::max(bytes + kReadablePastEnd, kSmallest);
  const size_t step = std::bit_floor(bytes) / 4;
  return (bytes + step - 1) / step * step;
}

void release_blocks(Pool& pool, cudaStream_t stream) {
  check(cudaStreamSynchronize(stream), "empty_cache");
  for (auto& [size, blocks] : pool.free_blocks) {
    while (!blocks.empty()) {
      check(cudaFree(blocks.back()), "empty_cache");
      blocks.pop_back();
      pool.stats.reserved_bytes -= static_cast<int64_t>(size);
    }
  }
}

/// Null when there is no room.
void* device_malloc(size_t size) {
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, size);
  if (status != cudaErrorMemoryAllocation) check(status, "allocate");
  cudaGetLastError();
  return status == cudaSuccess ? data : nullptr;
}

}  // namespace

void* allocate(size_t bytes, Device device) {
  if (bytes > std::numeric_limits<size_t>::max() / 4) return nullptr;
  const size_t size = size_class(bytes);
  const cudaStream_t stream = activate(device);
  Pool& pool = cuda::pool(device);
  std::lock_guard lock(pool.mutex);
  void* data = nullptr;
  if (auto& blocks = pool.free_blocks[size]; !blocks.empty()) {
    data = blocks.back();
    blocks.pop_back();
  } else {
    data = device_malloc(size);
    if (data == nullptr) {
      release_blocks(pool, stream);
      data = device_malloc(size);
    }
    if (data == nullptr) return nullptr;
    pool.stats.reserved_bytes += static_cast<int64_t>(size);
  }
  pool.stats.allocated_bytes += static_cast<int64_t>(size);
  pool.stats.peak_bytes = std::max(pool.stats.peak_bytes, pool.stats.allocated_bytes);
  return data;
}

void deallocate(void* data, size_t bytes, Device device) {
  if (data == nullptr || !usable()) return;
  const size_t size = size_class(bytes);
  Pool& pool = cuda::pool(device);
  std::lock_guard lock(pool.mutex);
  pool.free_blocks[size].push_back(data);
  pool.stats.allocated_bytes -= static_cast<int64_t>(size);
}

void empty_cache(Device device) {
  const cudaStream_t stream = activate(device);
  Pool& pool = cuda::pool(device);
  std::lock_guard lock(pool.mutex);
  release_blocks(pool, stream);
}

MemoryStats memory_stats(Device device) {
  Pool& pool = cuda::pool(device);
  std::lock_guard lock(pool.mutex);
  return pool.stats;
}

}  // namespace striate::cuda
