// Memory that a kernel's launcher needs between two kernels.
#pragma once

#include <cstddef>

#include "striate/types.h"

namespace striate::cuda {

/// A block of the current device's caching allocator, given back in the stream's order: what the
/// launcher has queued may use it after the launcher has returned. Throws OutOfMemoryError.
class Scratch {
 public:
  Scratch(const char* op, size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
};

}  // namespace striate::cuda
