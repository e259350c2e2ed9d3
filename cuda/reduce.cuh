// Reductions of `reduced` terms to each of `kept` results, whatever a term and a result are. The
// order is a pure function of the two numbers: threads of a block take every so-manieth term, a
// tree joins the threads, and where results are few, blocks take chunks of the terms, which a
// second kernel joins.
//
// An Operation says what is reduced. It has
//   Value, with none(), the value of no terms, and join(Value&, const Value&);
//   Term, with no_term(); load(row, i) is term i of the result at `row`, row(output) where that is;
//   add(Value&, const Term (&)[4]): four terms at a time, so that their loads overlap;
//   store(output, const Value&).
#pragma once

#include <algorithm>
#include <bit>

#include "index.cuh"
#include "scratch.h"

namespace striate::cuda {

struct ReductionPlan {
  int64_t kept, reduced;
  int reduced_threads;  // of a block; the rest are for different results
  bool along_reduced;   // neighbouring threads take neighbouring terms, else neighbouring results
  int64_t chunk, chunks;

  constexpr int64_t kept_threads() const { return kThreads / reduced_threads; }
  constexpr int64_t blocks() const { return ceil_div(kept, kept_threads()) * chunks; }
};

constexpr ReductionPlan plan_reduction(int64_t kept, int64_t reduced, bool along_reduced,
                                       bool one_chunk = false) {
  constexpr int64_t kTermsAtOnce = 4, kTermsWorthBlock = 16, kBlocks = 512, kWarp = 32;
  const int64_t useful = std::clamp<int64_t>(ceil_div(reduced, kTermsAtOnce), 1, kThreads);
  int64_t threads = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(useful)));
  if (!along_reduced) {
    const auto width = std::bit_ceil(static_cast<uint64_t>(std::clamp<int64_t>(kept, 1, kWarp)));
    threads = std::min(threads, kThreads / static_cast<int64_t>(width));
  }
  ReductionPlan plan{kept, reduced, static_cast<int>(threads), along_reduced, 0, 1};
  if (!one_chunk) {
    const int64_t most = std::max<int64_t>(reduced / (threads * kTermsWorthBlock), 1);
    plan.chunks = std::clamp<int64_t>(kBlocks / std::max<int64_t>(plan.blocks(), 1), 1, most);
  }
  plan.chunk = ceil_div(reduced, plan.chunks);
  return plan;
}

/// `parts` [chunks][kept] takes the values of chunks; null if there is one chunk.
template <class Operation>
__global__ void reduce_kernel(Operation operation, ReductionPlan plan,
                              typename Operation::Value* parts) {
  using Value = typename Operation::Value;
  __shared__ Value shared[kThreads];  // [reduced_threads][kept_threads]
  const int thread = static_cast<int>(threadIdx.x), kept_threads = kThreads / plan.reduced_threads;
  const int r = plan.along_reduced ? thread % plan.reduced_threads : thread / kept_threads;
  const int k = plan.along_reduced ? thread / plan.reduced_threads : thread % kept_threads;
  const int64_t chunk = blockIdx.x % plan.chunks;
  const int64_t output = blockIdx.x / plan.chunks * kept_threads + k;

  Value value = operation.none();
  if (output < plan.kept) {
    const auto row = operation.row(output);
    const int64_t begin = chunk * plan.chunk;
    const int64_t end = begin + plan.chunk < plan.reduced ? begin + plan.chunk : plan.reduced;
    for (int64_t i = begin + r; i < end; i += 4 * plan.reduced_threads) {
      typename Operation::Term terms[4];
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const int64_t at = i + q * plan.reduced_threads;
        terms[q] = at < end ? operation.load(row, at) : operation.no_term();
      }
      operation.add(value, terms);
    }
  }
  shared[r * kept_threads + k] = value;
  for (int half = plan.reduced_threads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (r < half) {
      operation.join(value, shared[(r + half) * kept_threads + k]);
      shared[r * kept_threads + k] = value;
    }
  }
  if (r > 0 || output >= plan.kept) return;
  if (parts != nullptr) {
    parts[chunk * plan.kept + output] = value;
  } else {
    operation.store(output, value);
  }
}

/// The second stage: terms are the values of chunks.
template <class Operation>
struct Join {
  using Value = typename Operation::Value;
  using Term = Value;
  Operation operation;
  const Value* parts;  // [chunks][kept]
  int64_t kept;

  __device__ Value none() const { return operation.none(); }
  __device__ Term no_term() const { return operation.none(); }
  __device__ int64_t row(int64_t output) const { return output; }
  __device__ Term load(int64_t row, int64_t i) const { return parts[i * kept + row]; }
  __device__ void add(Value& value, const Term (&terms)[4]) const {
#pragma unroll
    for (int q = 0; q < 4; ++q) operation.join(value, terms[q]);
  }
  __device__ void join(Value& value, const Value& other) const { operation.join(value, other); }
  __device__ void store(int64_t output, const Value& value) const {
    operation.store(output, value);
  }
};

template <class Operation>
void reduce(const char* name, const Operation& operation, const ReductionPlan& plan,
            Stream stream) {
  using Value = typename Operation::Value;
  if (plan.chunks == 1) {
    launch_blocks(name, reduce_kernel<Operation>, plan.blocks(), dim3(kThreads), stream, operation,
                  plan, nullptr);
    return;
  }
  const Scratch scratch(name, static_cast<size_t>(plan.chunks * plan.kept) * sizeof(Value));
  Value* parts = scratch.as<Value>();
  launch_blocks(name, reduce_kernel<Operation>, plan.blocks(), dim3(kThreads), stream, operation,
                plan, parts);
  const ReductionPlan second = plan_reduction(plan.kept, plan.chunks, false, true);
  launch_blocks(name, reduce_kernel<Join<Operation>>, second.blocks(), dim3(kThreads), stream,
                Join<Operation>{operation, parts, plan.kept}, second, nullptr);
}

}  // namespace striate::cuda
