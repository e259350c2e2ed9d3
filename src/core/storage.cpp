#include "core/storage.h"

#include <algorithm>

#include "core/backend.h"
#include "core/capture.h"

namespace striate {

void* Arena::allocate(size_t& bytes) {
  std::lock_guard lock(mutex_);
  // The smallest free block that fits, unless most of it would lie idle.
  if (const auto found = free_.lower_bound(bytes);
      found != free_.end() && found->first / 2 <= bytes) {
    const auto [size, data] = *found;
    free_.erase(found);
    bytes = size;
    return data;
  }
  void* data = backend(device_).allocate(bytes, device_);
  if (data != nullptr) blocks_.emplace_back(data, bytes);
  return data;
}

void Arena::deallocate(void* data, size_t bytes) {
  std::lock_guard lock(mutex_);
  free_.emplace(bytes, data);
}

Arena::~Arena() {
  // Not backend(): a forked child must be able to drop tensors of a device that it has lost.
  for (const auto& [data, bytes] : blocks_) {
    find_backend(device_.type)->deallocate(data, bytes, device_);
  }
}

Storage::Storage(size_t size, Device device) : bytes(std::max<size_t>(size, 1)), device(device) {
  const Backend& target = backend(device);
  if (Capture* capture = current_capture(device)) [[unlikely]] {
    arena = capture->arena;
    data = arena->allocate(bytes);
  } else {
    data = target.allocate(bytes, device);
  }
  if (data == nullptr) [[unlikely]] {
    const MemoryStats stats = target.memory_stats(device);
    fail<OutOfMemoryError>("empty: no room on ", device, " for ", size, " bytes, with ",
                           stats.allocated_bytes, " bytes in tensors and ",
                           stats.reserved_bytes - stats.allocated_bytes, " cached");
  }
}

Storage::Storage(void* data, Device device, std::shared_ptr<void> owner)
    : data(data), device(device), owner(std::move(owner)), loans(1) {}

Storage::~Storage() {
  if (arena) {
    arena->deallocate(data, bytes);
  } else if (bytes > 0) {
    find_backend(device.type)->deallocate(data, bytes, device);
  }
}

}  // namespace striate
