// A backend: its kernel table and the few services that the core needs from a device.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "striate/runtime.h"
#include "striate/types.h"

namespace striate {

struct KernelTable;

/// A plain struct of functions, like the table itself. `allocate` returns null when there is no
/// room; blocks are aligned to 64 bytes or more and readable for 64 bytes past their end.
struct Backend {
  const char* name;
  const KernelTable* kernels;
  int (*device_count)();
  std::string (*unavailable_reason)();     // empty when device_count() > 0
  std::string (*describe)(Device device);  // for people
  void* (*allocate)(size_t bytes, Device device);
  void (*deallocate)(void* data, size_t bytes, Device device);
  void (*empty_cache)(Device device);
  MemoryStats (*memory_stats)(Device device);
  /// Copies between the host and this device or within it; returns when the host side is free.
  void (*transfer)(void* target, Device target_device, const void* source, Device source_device,
                   size_t bytes);
  void (*synchronize)(Device device);
  Stream (*current_stream)(Device device);
  /// Order with another library's stream: it waits for this device's work so far, or the device's
  /// work from now on waits for what it was given. Null where there are no streams.
  void (*release_to)(Device device, void* stream) = nullptr;
  void (*wait_for)(Device device, void* stream) = nullptr;
  // Events: points in the device's work. Null where all work is done when a call returns.
  void* (*create_event)(Device device) = nullptr;
  void (*record_event)(void* event, Device device) = nullptr;
  double (*elapsed_ms)(void* start, void* end, Device device) = nullptr;  // waits for `end`
  void (*destroy_event)(void* event) = nullptr;
  /// Between begin and end, what the calling thread gives to the device is kept, not done. All null
  /// on a device without graphs: launch() then keeps the calls.
  void (*begin_capture)(Device device) = nullptr;
  void* (*end_capture)(Device device) = nullptr;
  void (*replay)(void* graph, Device device) = nullptr;
  void (*destroy_graph)(void* graph) = nullptr;
};

/// The backend of a device that exists. Throws DeviceError with the reason otherwise.
const Backend& backend(Device device);
/// The backend of a type, devices present or not; null if it was not compiled in.
const Backend* find_backend(DeviceType type);

/// Where launch() puts its calls, rather than making them, while this thread captures a graph on a
/// device without graphs of its own; null otherwise.
std::vector<std::function<void()>>* captured_calls(Device device);

/// Defined by each backend: src/cpu/backend.cpp and cuda/backend.cpp.
const Backend& cpu_backend();
const Backend& cuda_backend();

}  // namespace striate
