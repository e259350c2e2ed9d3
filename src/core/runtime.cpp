#include "striate/runtime.h"

#include <atomic>

#include "core/backend.h"

namespace striate {
namespace {

std::atomic<bool> winograd{true};
std::atomic<bool> tf32{false};

}  // namespace

bool winograd_enabled() { return winograd.load(std::memory_order_relaxed); }
void set_winograd_enabled(bool enabled) { winograd.store(enabled, std::memory_order_relaxed); }

bool allow_tf32() { return tf32.load(std::memory_order_relaxed); }
void set_allow_tf32(bool allowed) { tf32.store(allowed, std::memory_order_relaxed); }

int device_count(DeviceType type) {
  const Backend* found = find_backend(type);
  return found ? found->device_count() : 0;
}

std::string device_unavailable_reason(DeviceType type) {
  const Backend* found = find_backend(type);
  return found ? found->unavailable_reason() : "striate was built without CUDA";
}

void synchronize(Device device) { backend(device).synchronize(device); }

void empty_cache(Device device) { backend(device).empty_cache(device); }

MemoryStats memory_stats(Device device) { return backend(device).memory_stats(device); }

const char* version() { return STRIATE_VERSION; }

std::string build_info() {
  const char* cuda = find_backend(DeviceType::kCUDA) ? ", cuda\n" : "\n";
  return std::string("version: " STRIATE_VERSION "\ncompiler: " STRIATE_COMPILER
                     "\nbuild type: " STRIATE_BUILD_TYPE "\nbackends: cpu") +
         cuda;
}

}  // namespace striate
