// The CPU backend's caching allocator: freed blocks are kept by size class and handed out again,
// because fresh pages cost more (faults, zeroing) than most kernels that write to them.
#pragma once

#include <cstddef>

#include "striate/runtime.h"

namespace striate::cpu {

/// A block aligned to 64 bytes and readable for 64 bytes past `bytes`; null if there is no room.
void* allocate(size_t bytes, Device device);
void deallocate(void* data, size_t bytes, Device device);
void empty_cache(Device device);
MemoryStats memory_stats(Device device);

}  // namespace striate::cpu
