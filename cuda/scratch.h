// Memory that a kernel's launcher needs between two kernels.
#pragma once

#include "check.h"
#include "runtime.h"

namespace striate::cuda {

/// A block of the current device's caching allocator, given back in the stream's order: what the
/// launcher has queued may use it after the launcher has returned. While a graph is captured, a
/// block of the graph's own. Throws OutOfMemoryError. Null for no bytes.
class Scratch {
 public:
  Scratch(const char* op, size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    check(cudaGetDevice(&device_.index), op);
    data_ = allocate_scratch(bytes, device_);
    require<OutOfMemoryError>(data_ != nullptr, op, ": ", device_, " has no room for ", bytes,
                              " bytes of scratch memory");
  }
  ~Scratch() { deallocate_scratch(data_, bytes_, device_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  Device device_ = {DeviceType::kCUDA, 0};
  size_t bytes_;
  void* data_ = nullptr;
};

}  // namespace striate::cuda
