// What this process may use of the machine: its CPU affinity and control groups (v1 and v2).
#pragma once

#include <cstdint>

namespace striate::cpu {

/// Processors that the process may run on, at least 1: affinity, lowered by a CPU quota.
int available_processors();
/// Bytes of memory that the process may hold: physical memory, lowered by a cgroup limit.
int64_t available_memory();

}  // namespace striate::cpu
