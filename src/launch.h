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

/// A copy of Args that outlives the call.
template <class Args>
struct OwnedArgs {
  Args args;
  void run(Kernel<Args> kernel, Stream stream) const { kernel(args, stream); }
};
/// The optimizers' point to an array of the caller's.
template <class Args>
  requires requires(Args args) { args.tensors; }
struct OwnedArgs<Args> {
  explicit OwnedArgs(const Args& args)
      : args(args), tensors(args.tensors, args.tensors + args.count) {}
  Args args;
  std::vector<OptimizerTensor> tensors;
  void run(Kernel<Args> kernel, Stream stream) const {
    Args copy = args;
    copy.tensors = tensors.data();
    kernel(copy, stream);
  }
};

/// Runs a kernel on the device's current stream, or keeps the call for a graph.
template <class Args>
void launch(const char* name, Device device, Kernel<Args> KernelTable::* entry, const Args& args) {
  const Backend& target = backend(device);
  const Kernel<Args> kernel = find_kernel(name, target, entry);
  const Stream stream = target.current_stream(device);
  if (auto* calls = captured_calls(device)) [[unlikely]] {
    calls->push_back(
        [kernel, stream, owned = OwnedArgs<Args>(args)] { owned.run(kernel, stream); });
  } else {
    kernel(args, stream);
  }
}

}  // namespace striate
