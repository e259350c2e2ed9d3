// The race detector's side of the harness; its other side are the hooks that -fsanitize=thread puts
// before every access of a kernel.
#pragma once

#include <cstddef>

namespace simt::race {

/// Accesses to this memory do not count: stacks, the harness's own.
void ignore(const void* begin, size_t bytes);
void begin_grid(const void* dynamic_shared, size_t shared_bytes);
void begin_block();
/// All threads of the block wait: what they did comes before what they will do.
void barrier();
/// The thread that makes the accesses from now on.
void run(int thread);

}  // namespace simt::race
