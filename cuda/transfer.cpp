// Copies between host and device pass through two pinned buffers per device: while the device
// copies one, the host fills or drains the other. (A copy from pageable memory would make the
// driver do the same, one step at a time.)
#include <algorithm>
#include <cstring>
#include <mutex>
#include <vector>

#include "check.h"
#include "runtime.h"

namespace striate::cuda {
namespace {

constexpr size_t kChunk = size_t{4} << 20;

class Staging {
 public:
  void upload(char* target, const char* source, size_t bytes, cudaStream_t stream) {
    std::lock_guard lock(mutex_);
    for (size_t start = 0; start < bytes; start += kChunk) {
      const size_t size = std::min(kChunk, bytes - start);
      Buffer& buffer = ready(next_++);
      check(cudaEventSynchronize(buffer.done), "transfer");
      std::memcpy(buffer.data, source + start, size);
      copy(target + start, buffer.data, size, cudaMemcpyHostToDevice, buffer, stream);
    }
  }

  void download(char* target, const char* source, size_t bytes, cudaStream_t stream) {
    std::lock_guard lock(mutex_);
    const auto size_at = [&](size_t start) { return std::min(kChunk, bytes - start); };
    size_t issued = 0;
    for (size_t drained = 0; drained < bytes; drained += kChunk) {
      for (; issued < bytes && issued < drained + 2 * kChunk; issued += kChunk) {
        Buffer& buffer = ready(issued / kChunk);
        copy(buffer.data, source + issued, size_at(issued), cudaMemcpyDeviceToHost, buffer, stream);
      }
      Buffer& buffer = ready(drained / kChunk);
      check(cudaEventSynchronize(buffer.done), "transfer");
      std::memcpy(target + drained, buffer.data, size_at(drained));
    }
  }

 private:
  struct Buffer {
    char* data = nullptr;
    cudaEvent_t done = nullptr;
  };

  Buffer& ready(size_t turn) {
    Buffer& buffer = buffers_[turn % 2];
    if (buffer.done == nullptr) {
      check(cudaEventCreateWithFlags(&buffer.done, cudaEventDisableTiming), "transfer");
    }
    if (buffer.data == nullptr) {
      void* data;
      check(cudaHostAlloc(&data, kChunk, cudaHostAllocDefault), "transfer");
      buffer.data = static_cast<char*>(data);
    }
    return buffer;
  }

  static void copy(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                   const Buffer& buffer, cudaStream_t stream) {
    check(cudaMemcpyAsync(target, source, bytes, kind, stream), "transfer");
    check(cudaEventRecord(buffer.done, stream), "transfer");
  }

  std::mutex mutex_;
  Buffer buffers_[2];
  size_t next_ = 0;
};

Staging& staging(Device device) {
  // Never destroyed: the driver may be gone when the process ends.
  static auto* all = new std::vector<Staging>(static_cast<size_t>(device_count()));
  return (*all)[static_cast<size_t>(device.index)];
}

/// The copy runs on the source's stream, between everything queued on both devices before and
/// after it: the target block may have been in use until now.
void copy_between(void* target, Device target_device, const void* source, Device source_device,
                  size_t bytes) {
  const cudaStream_t target_stream = activate(target_device);
  const cudaStream_t stream = activate(source_device);
  if (target_device == source_device) {
    check(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDeviceToDevice, stream), "transfer");
    return;
  }
  order(target_device, target_stream, stream);
  activate(source_device);
  check(
      cudaMemcpyPeerAsync(target, target_device.index, source, source_device.index, bytes, stream),
      "transfer");
  order(source_device, stream, target_stream);
}

}  // namespace

void transfer(void* target, Device target_device, const void* source, Device source_device,
              size_t bytes) {
  if (bytes == 0) return;
  if (source_device.type == DeviceType::kCPU) {
    const cudaStream_t stream = activate(target_device);
    staging(target_device)
        .upload(static_cast<char*>(target), static_cast<const char*>(source), bytes, stream);
  } else if (target_device.type == DeviceType::kCPU) {
    const cudaStream_t stream = activate(source_device);
    staging(source_device)
        .download(static_cast<char*>(target), static_cast<const char*>(source), bytes, stream);
  } else {
    copy_between(target, target_device, source, source_device, bytes);
  }
}

}  // namespace striate::cuda
