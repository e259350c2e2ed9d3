// Stands in for cuda/device/launch.cuh: runs the kernel at once, on the host.
#pragma once

#include "../../../cuda/check.h"
#include "striate/types.h"

namespace striate::cuda {

/// Exactly as many bytes as launch() was asked for.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(simt::dynamic_shared());
}

template <class... Params>
void launch(const char* name, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
            Stream, Params... args) {
  last_kernel = name;
  simt::run_grid(name, grid, block, shared_bytes, [&] { kernel(args...); });
}

}  // namespace striate::cuda
