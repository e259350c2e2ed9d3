// The CPU backend's caching allocator: freed blocks are kept by size class and handed out again,
// because fresh pages cost more (faults, zeroing) than most kernels that write to them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include "striate/runtime.h"

namespace striate::cpu {

/// A block aligned to 64 bytes and readable for 64 bytes past `bytes`; null if there is no room.
void* allocate(size_t bytes, Device device);
void deallocate(void* data, size_t bytes, Device device);
void empty_cache(Device device);
MemoryStats memory_stats(Device device);

/// Room for `count` values while a thread computes. The system's malloc would give it back and
/// fault it in again, page by page, at every call.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : bytes_(std::max<int64_t>(count, 1) * sizeof(T)),
        data_(static_cast<T*>(allocate(bytes_, Device{}))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  ~Scratch() { deallocate(data_, bytes_, Device{}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* get() const { return data_; }

 private:
  const size_t bytes_;
  T* const data_;
};

}  // namespace striate::cpu
