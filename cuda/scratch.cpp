#include "scratch.h"

#include "check.h"
#include "runtime.h"

namespace striate::cuda {

Scratch::Scratch(const char* op, size_t bytes) : bytes_(bytes), device_{DeviceType::kCUDA, 0} {
  check(cudaGetDevice(&device_.index), op);
  data_ = allocate(bytes, device_);
  require<OutOfMemoryError>(data_ != nullptr, op, ": ", device_, " has no room for ", bytes,
                            " bytes of scratch memory");
}

Scratch::~Scratch() { deallocate(data_, bytes_, device_); }

}  // namespace striate::cuda
