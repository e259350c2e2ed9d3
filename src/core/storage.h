// A block of device memory, shared by all views of it, and the memory of a captured graph.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "striate/types.h"

namespace striate {

/// The blocks that a captured graph writes to at each replay. While the graph is captured, a block
/// that its tensor gives back serves the next tensor, as it will at each replay; nobody else gets
/// it. Lives as long as the graph and every tensor in it.
class Arena {
 public:
  explicit Arena(Device device) : device_(device) {}
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Null when the device has no room. `bytes` receives the size of the block.
  void* allocate(size_t& bytes);
  void deallocate(void* data, size_t bytes);

 private:
  Device device_;
  std::mutex mutex_;  // tensors die on any thread
  std::multimap<size_t, void*> free_;
  std::vector<std::pair<void*, size_t>> blocks_;
};

struct Storage {
  /// Allocates, from the graph's arena where this thread captures one on the device. Throws
  /// OutOfMemoryError or DeviceError.
  Storage(size_t bytes, Device device);
  /// Wraps foreign memory.
  Storage(void* data, Device device, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data = nullptr;
  size_t bytes = 0;
  Device device;
  std::shared_ptr<void> owner;   // set for foreign memory
  std::shared_ptr<Arena> arena;  // set for a graph's memory
  std::atomic<uint64_t> version{0};
  // Loans to code whose edits do not count as versions: running and returned. Foreign memory is
  // on loan for good.
  std::atomic<int> loans{0};
  std::atomic<uint64_t> returned_loans{0};
};

}  // namespace striate
