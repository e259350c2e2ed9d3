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

    .sum = cuda::sum,
    .max = cuda::max,
    .max_backward = cuda::max_backward,
    .index_select = cuda::index_select,
    .index_select_backward = cuda::index_select_backward,
    .find_out_of_range = cuda::find_out_of_range,

    .conv2d_plan = cuda::conv2d_plan,
    .conv2d_pack = cuda::conv2d_pack,
    .conv2d = cuda::conv2d,
    .conv2d_input_grad = cuda::conv2d_input_grad,
    .conv2d_weight_grad = cuda::conv2d_weight_grad,

    .max_pool2d = cuda::max_pool2d,
    .max_pool2d_backward = cuda::max_pool2d_backward,
    .avg_pool2d = cuda::avg_pool2d,
    .avg_pool2d_backward = cuda::avg_pool2d_backward,

    .batch_norm = cuda::batch_norm,
    .batch_norm_backward = cuda::batch_norm_backward,
    .local_response_norm = cuda::local_response_norm,
    .local_response_norm_backward = cuda::local_response_norm_backward,
    .dropout = cuda::dropout,

    .softmax = cuda::softmax,
    .softmax_backward = cuda::softmax_backward,
    .nll_loss = cuda::nll_loss,
    .nll_loss_backward = cuda::nll_loss_backward,

    .sgd = cuda::sgd,
    .adam = cuda::adam,
};

constexpr Backend kBackend = {
    .name = "cuda",
    .kernels = &kKernels,
    .device_count = cuda::device_count,
    .unavailable_reason = cuda::unavailable_reason,
    .describe = cuda::describe,
    .allocate = cuda::allocate,
    .deallocate = cuda::deallocate,
    .empty_cache = cuda::empty_cache,
    .memory_stats = cuda::memory_stats,
    .transfer = cuda::transfer,
    .synchronize = cuda::synchronize,
    .current_stream = [](Device device) { return Stream{cuda::current_stream(device)}; },
    .release_to = cuda::release_to,
    .wait_for = cuda::wait_for,
    .create_event = cuda::create_event,
    .record_event = cuda::record_event,
    .elapsed_ms = cuda::elapsed_ms,
    .destroy_event = cuda::destroy_event,
    .begin_capture = cuda::begin_capture,
    .end_capture = cuda::end_capture,
    .replay = cuda::replay,
    .destroy_graph = cuda::destroy_graph,
};

}  // namespace

const Backend& cuda_backend() { return kBackend; }

}  // namespace striate
