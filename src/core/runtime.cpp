#include "striate/runtime.h"

#include <atomic>

#include "core/backend.h"
#include "core/capture.h"

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

std::string device_description(Device device) { return backend(device).describe(device); }

void synchronize(Device device) {
  check_not_capturing("synchronize", device, "waiting");
  backend(device).synchronize(device);
}

void empty_cache(Device device) {
  check_not_capturing("empty_cache", device, "giving memory back");
  backend(device).empty_cache(device);
}

MemoryStats memory_stats(Device device) { return backend(device).memory_stats(device); }

void* stream_handle(Device device) { return backend(device).current_stream(device).handle; }

void release_to_stream(Device device, void* stream) {
  check_not_capturing("stream", device, "sharing work");
  if (const auto release = backend(device).release_to) release(device, stream);
}

void wait_for_stream(Device device, void* stream) {
  check_not_capturing("stream", device, "sharing work");
  if (const auto wait = backend(device).wait_for) wait(device, stream);
}

Event::Event(Device device) : device_(device) {
  const Backend& target = backend(device);
  if (target.create_event) handle_ = target.create_event(device);
}

Event::~Event() {
  if (handle_) find_backend(device_.type)->destroy_event(handle_);
}

void Event::record() {
  check_not_capturing("event", device_, "recording an event");
  if (handle_) backend(device_).record_event(handle_, device_);
  time_ = std::chrono::steady_clock::now();
  recorded_ = true;
}

double Event::milliseconds_since(const Event& start) const {
  require<ArgumentError>(recorded_ && start.recorded_ && device_ == start.device_,
                         "event: expected two recorded events of one device");
  if (handle_) return backend(device_).elapsed_ms(start.handle_, handle_, device_);
  return std::chrono::duration<double, std::milli>(time_ - start.time_).count();
}

const char* version() { return STRIATE_VERSION; }

std::string build_info() {
  const char* cuda = find_backend(DeviceType::kCUDA) ? ", cuda\n" : "\n";
  return std::string("version: " STRIATE_VERSION "\ncompiler: " STRIATE_COMPILER
                     "\nbuild type: " STRIATE_BUILD_TYPE "\nbackends: cpu") +
         cuda;
}

}  // namespace striate
