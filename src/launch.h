// THE dispatch funnel: every kernel call of every op passes through launch().
#pragma once

#include "core/backend.h"
#include "kernels.h"

namespace striate {

/// Throws DeviceError("conv2d: not implemented for cuda") if the backend has no such kernel.
template <class Function>
Function find_kernel(const char* name, const Backend& backend, Function KernelTable::* entry) {
  Function kernel = backend.kernels->*entry;
  require<DeviceError>(kernel != nullptr, name, ": not implemented for ", backend.name);
  return kernel;
}

/// Runs a kernel on the device's current stream.
template <class Args>
void launch(const char* name, Device device, Kernel<Args> KernelTable::* entry, const Args& args) {
  const Backend& target = backend(device);
  find_kernel(name, target, entry)(args, target.current_stream(device));
}

}  // namespace striate
