// A device called cuda that is the CPU: for machines without a GPU, where it finds what only the
// names of two devices can. An op, a binding or a layer that makes a tensor on the wrong device, or
// mixes tensors of both, fails as it would on a GPU; kernels, memory and graphs are the CPU's.
#include "core/backend.h"

namespace striate {

const Backend& cuda_backend() {
  static const Backend backend = [] {
    Backend stand_in = cpu_backend();
    stand_in.name = "cuda";
    stand_in.describe = [](Device) { return std::string("a stand-in, which is the CPU"); };
    return stand_in;
  }();
  return backend;
}

}  // namespace striate
