// Memory that a kernel's launcher needs between two kernels.
#pragma once

#include "check.h"
#include "runtime.h"

namespace striate::cuda {

/// A block of the current device's caching allocator, given back in the stream's order: what the
/// launcher has queued may use it after the launcher has returned. Throws OutOfMemoryError. Null
/// for no bytes.
class Scratch {
 public:
  Scratch(const char* op, size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    check(cudaGetDevice(&device_.index), op);
    data_ = allocate(bytes, device_);
    require<OutOfMemoryError>(data_ != nullptr, op, ": ", device_, " has no room for ", bytes,
                              " bytes of scratch memory");
  }
  ~Scratch() { deallocate(data_, bytes_, device_); }
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
