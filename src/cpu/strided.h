// Walks over index spaces.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "cpu/dispatch.h"
#include "cpu/thread_pool.h"
#include "striate/types.h"

namespace striate::cpu {

inline int64_t numel(const Dims& shape) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return count;
}

/// Calls body(offsets, count) on runs along the last dimension that together cover elements
/// [begin, end) of the space, in row-major order; offsets[k] is where the run starts in operand k.
template <size_t kOperands, class Body>
void for_each_run(const Dims& shape, const std::array<const Dims*, kOperands>& strides,
                  int64_t begin, int64_t end, const Body& body) {
  if (begin >= end) return;
  const int last = shape.size() - 1;
  std::array<int64_t, kOperands> offsets{};
  if (last < 0) return body(offsets, int64_t{1});
  int64_t index[kMaxDims];
  int64_t rest = begin;
  for (int d = last; d >= 0; --d) {
    index[d] = rest % shape[d];
    rest /= shape[d];
    for (size_t k = 0; k < kOperands; ++k) offsets[k] += index[d] * (*strides[k])[d];
  }
  while (true) {
    const int64_t count = std::min(shape[last] - index[last], end - begin);
    body(offsets, count);
    begin += count;
    if (begin == end) return;
    for (size_t k = 0; k < kOperands; ++k) offsets[k] -= index[last] * (*strides[k])[last];
    index[last] = 0;
    for (int d = last - 1;; --d) {
      for (size_t k = 0; k < kOperands; ++k) offsets[k] += (*strides[k])[d];
      if (++index[d] < shape[d]) break;
      for (size_t k = 0; k < kOperands; ++k) offsets[k] -= shape[d] * (*strides[k])[d];
      index[d] = 0;
    }
  }
}

/// For every index of an outer dimension, blocks of at most kBlock elements of the inner one,
/// shared among threads: body(outer, first, columns). `work` elements are worth a column of a
/// block.
template <int64_t kBlock, class Body>
void for_each_block(int64_t outer, int64_t inner, int64_t work, const Body& body) {
  const int64_t blocks = ceil_div(inner, kBlock), grain = grain_for(work * std::min(kBlock, inner));
  parallel_for_each(outer * blocks, grain, [&](int64_t item) {
    const int64_t first = item % blocks * kBlock;
    body(item / blocks, first, std::min(kBlock, inner - first));
  });
}

/// What join(total, part) makes, in order, of part(begin, end) of chunks of [0, n), whose length,
/// `least` or more, depends on n alone. `grain` chunks are worth a thread.
template <int64_t kChunks, class Part, class Join>
auto reduce_chunks(int64_t n, int64_t least, int64_t grain, const Part& part, const Join& join) {
  const int64_t size = std::max(least, ceil_div(n, kChunks));
  const int64_t chunks = std::max<int64_t>(ceil_div(n, size), 1);
  std::array<decltype(part(n, n)), kChunks> parts;
  parallel_for_each(chunks, grain,
                    [&](int64_t k) { parts[k] = part(k * size, std::min((k + 1) * size, n)); });
  for (int64_t k = 1; k < chunks; ++k) join(parts[0], parts[k]);
  return parts[0];
}

}  // namespace striate::cpu
