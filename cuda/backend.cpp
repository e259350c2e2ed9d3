// The CUDA backend: the services and the kernels that it has so far.
#include "core/backend.h"

#include "entries.h"
#include "runtime.h"

namespace striate {
namespace {

constexpr KernelTable kKernels = {
    .fill = cuda::fill,
    .copy = cuda::copy,
    .random = cuda::random,
    .arange = cuda::arange,

    .unary = cuda::unary,
    .unary_backward = cuda::unary_backward,
    .binary = cuda::binary,
    .axpby = cuda::axpby,

    .conv2d_plan = cuda::conv2d_plan,
    .conv2d_pack = cuda::conv2d_pack,
    .conv2d = cuda::conv2d,
    .conv2d_input_grad = cuda::conv2d_input_grad,
    .conv2d_weight_grad = cuda::conv2d_weight_grad,
};

constexpr Backend kBackend = {
    .name = "cuda",
    .kernels = &kKernels,
    .device_count = cuda::device_count,
    .unavailable_reason = cuda::unavailable_reason,
    .allocate = cuda::allocate,
    .deallocate = cuda::deallocate,
    .empty_cache = cuda::empty_cache,
    .memory_stats = cuda::memory_stats,
    .transfer = cuda::transfer,
    .synchronize = cuda::synchronize,
    .current_stream = [](Device device) { return Stream{cuda::activate(device)}; },
};

}  // namespace

const Backend& cuda_backend() { return kBackend; }

}  // namespace striate
