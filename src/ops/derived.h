// What is computed from a weight once and used until the weight changes: its packing for a kernel,
// its conversion to another type.
#pragma once

#include <functional>

#include "ops/common.h"

namespace striate {

/// make(), which computes something from x's elements alone, or what it returned before, off the
/// tape. Kept in x's cache under `key` until x is edited. What records x, to train it, keeps it
/// from the second time on: an optimizer's step would make it useless before its next use. Not kept
/// while x is on loan, nor by a graph that trains x, which computes it at every replay.
Tensor derived(const Tensor& x, uint64_t key, const std::function<Tensor()>& make);

}  // namespace striate
