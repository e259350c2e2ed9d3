// A graph while it is captured, and afterwards.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/tensor_impl.h"
#include "striate/graph.h"

namespace striate {

struct Capture {
  ~Capture();

  Device device;
  std::shared_ptr<Arena> arena;

  std::set<std::shared_ptr<Storage>> kept;    // outside the arena, that the work reads or writes
  std::set<std::shared_ptr<Storage>> edited;  // outside the arena, that it edits
  /// Storages whose elements went into something derived before the capture: packed weights.
  struct Assumption {
    std::shared_ptr<Storage> storage;
    uint64_t version;
  };
  std::vector<Assumption> assumed;

  bool backward = false;  // whether a backward pass has begun

  std::vector<std::function<void()>> hooks;  // before each replay
  std::vector<std::function<void()>> calls;  // the work, on a device that has no graphs of its own
  void* graph = nullptr;                     // the work, on one that has

  Tensor random_base;               // int64 [2]: a seed and an offset, set before each replay
  uint64_t random_count = 0;        // values drawn by a replay
  Tensor bad_labels;                // int64 []: how many label checks failed since the last look
  std::vector<std::string> checks;  // what they would say
  uint64_t replays = 0;

  /// Keeps a storage from being given back while the graph lives.
  void keep(const std::shared_ptr<Storage>& storage);
};

/// The capture that runs on this thread and device; null if none does.
Capture* current_capture(Device device);
/// Throws DeviceError if one does: `what` cannot be replayed.
void check_not_capturing(const char* op, Device device, const char* what);

}  // namespace striate
