// What the CPU offers: its kernels and its services.
#include "core/backend.h"

#include <cstring>

#include "cpu/allocator.h"
#include "cpu/kernels.h"

namespace striate {
namespace {

constexpr KernelTable kKernels = {
    .fill = cpu::fill,
    .copy = cpu::copy,
    .random = cpu::random,
    .arange = cpu::arange,

    .unary = cpu::unary,
    .unary_backward = cpu::unary_backward,
    .binary = cpu::binary,
    .axpby = cpu::axpby,

    .sum = cpu::sum,
    .max = cpu::max,
    .max_backward = cpu::max_backward,
    .index_select = cpu::index_select,
    .index_select_backward = cpu::index_select_backward,
    .find_out_of_range = cpu::find_out_of_range,

    .conv2d_plan = cpu::conv2d_plan,
    .conv2d_pack = cpu::conv2d_pack,
    .conv2d = cpu::conv2d,
    .conv2d_input_grad = cpu::conv2d_input_grad,
    .conv2d_weight_grad = cpu::conv2d_weight_grad,

    .max_pool2d = cpu::max_pool2d,
    .max_pool2d_backward = cpu::max_pool2d_backward,
    .avg_pool2d = cpu::avg_pool2d,
    .avg_pool2d_backward = cpu::avg_pool2d_backward,

    .batch_norm = cpu::batch_norm,
    .batch_norm_backward = cpu::batch_norm_backward,
    .local_response_norm = cpu::local_response_norm,
    .local_response_norm_backward = cpu::local_response_norm_backward,
    .dropout = cpu::dropout,

    .softmax = cpu::softmax,
    .softmax_backward = cpu::softmax_backward,
    .nll_loss = cpu::nll_loss,
    .nll_loss_backward = cpu::nll_loss_backward,

    .sgd = cpu::sgd,
    .adam = cpu::adam,
};

constexpr Backend kBackend = {
    .name = "cpu",
    .kernels = &kKernels,
    .device_count = [] { return 1; },
    .unavailable_reason = [] { return std::string(); },
    .describe = [](Device) { return std::string("cpu, ") + cpu_isa(); },
    .allocate = cpu::allocate,
    .deallocate = cpu::deallocate,
    .empty_cache = cpu::empty_cache,
    .memory_stats = cpu::memory_stats,
    .transfer =
        [](void* target, Device, const void* source, Device, size_t bytes) {
          if (bytes > 0) std::memcpy(target, source, bytes);
        },
    .synchronize = [](Device) {},
    .current_stream = [](Device) { return Stream{}; },
};

}  // namespace

const Backend& cpu_backend() { return kBackend; }

}  // namespace striate
