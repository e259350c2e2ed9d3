// CUDA C++ on the host: included before the first line of every kernel source when g++ compiles it.
// Every CUDA thread is a fiber, and the blocks of a grid run one after another; scheduler.cpp says
// in which order. An intrinsic that is missing here can be added when a kernel needs it; other
// things are missing on purpose: see the rules in docs/cuda.md.
#pragma once

#define __shared__ static  // one block at a time
#include <cuda_runtime.h>
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

#include <math.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <source_location>
#include <type_traits>

// --- The harness --------------------------------------------------------------------------------

namespace simt {

/// Where a kernel called a primitive: the last parameter of every primitive.
using Site = std::source_location;
#define SIMT_SITE simt::Site site = simt::Site::current()

/// Of the running CUDA thread.
struct Context {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
};
extern Context context;

/// Runs a kernel to its end; the first error that it makes ends the process.
void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& kernel);
[[noreturn]] void fail(const char* message, Site site = {});
void* dynamic_shared();
int lane();
/// Waits for all threads of the block that have not ended.
void barrier(Site site);

/// What a lane gives to an operation that all lanes of the mask make together.
struct Request {
  const char* operation;
  unsigned mask;
  Site site;
  const void* in;
  void* out;
};
/// Waits for the other lanes of request.mask. True for the last of them, which computes the results
/// of all and then calls release(); the others return when it has done so.
bool arrive(Request& request);
const Request& request_of(int lane);
void release(unsigned mask);

/// combine(lane, in_of) gives the result of `lane` from the inputs of all lanes of the mask.
template <class Out, class In, class Combine>
Out warp_operation(const char* name, unsigned mask, const In& in, Site site,
                   const Combine& combine) {
  Out out;
  Request request{name, mask, site, &in, &out};
  if (!arrive(request)) return out;
  const auto in_of = [&](int from) -> const In& {
    if ((mask >> from & 1) == 0) fail("reads a lane that is not in the mask", site);
    return *static_cast<const In*>(request_of(from).in);
  };
  for (int to = 0; to < 32; ++to) {
    if (mask >> to & 1) *static_cast<Out*>(request_of(to).out) = combine(to, in_of);
  }
  release(mask);
  return out;
}

/// Copies that cp.async has begun and no wait has ended: see host/ptx.cuh.
struct Copy {
  void* shared;
  const void* global;  // null: zeros
  int bytes;
};
void begin_copy(const Copy& copy);
void commit_copies();
/// Takes the oldest copy that is not of the `pending` newest groups; false if there is none.
bool end_copy(int pending, Copy& copy);

/// For race.cpp: what orders the accesses of a warp's lanes, and an access, made by the function
/// that returns to `caller`, that does not race with its like.
void note_syncwarp(unsigned mask);
void note_atomic(const void* address, size_t bytes, const void* caller);

}  // namespace simt

#define threadIdx (::simt::context.thread)
#define blockIdx (::simt::context.block)
#define blockDim (::simt::context.block_dim)
#define gridDim (::simt::context.grid_dim)

// --- Synchronisation and warp operations --------------------------------------------------------

inline void __syncthreads(SIMT_SITE) { simt::barrier(site); }

inline void __syncwarp(unsigned mask = ~0u, SIMT_SITE) {
  simt::warp_operation<int>("__syncwarp", mask, 0, site, [&](int to, const auto&) {
    if (to == std::countr_zero(mask)) simt::note_syncwarp(mask);
    return 0;
  });
}

namespace simt {

/// source(at, in) is the place that place `at` of a segment reads; outside the segment, its own.
template <class T, class Source>
T shuffle(const char* name, unsigned mask, T value, int in, int width, Site site, Source source) {
  const std::pair<T, int> mine(value, in);
  return warp_operation<T>(name, mask, mine, site, [&](int to, const auto& in_of) {
    const int first = to & ~(width - 1);
    const int from = source(to - first, in_of(to).second);
    return in_of(from >= 0 && from < width ? first + from : to).first;
  });
}

}  // namespace simt

#define SIMT_SHUFFLE(name, source)                                                   \
  template <class T>                                                                 \
  T name(unsigned mask, T value, int in, int width = 32, SIMT_SITE) {                \
    const auto from = [=](int at, int in) { return static_cast<void>(at), source; }; \
    return simt::shuffle(#name, mask, value, in, width, site, from);                 \
  }
SIMT_SHUFFLE(__shfl_sync, in&(width - 1))
SIMT_SHUFFLE(__shfl_up_sync, at - in)
SIMT_SHUFFLE(__shfl_down_sync, at + in)
SIMT_SHUFFLE(__shfl_xor_sync, at ^ in)

inline unsigned __ballot_sync(unsigned mask, int predicate, SIMT_SITE) {
  const auto combine = [&](int, const auto& in_of) {
    unsigned ballot = 0;
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
      if (in_of(std::countr_zero(rest)) != 0) ballot |= rest & -rest;
    }
    return ballot;
  };
  return simt::warp_operation<unsigned>("__ballot_sync", mask, predicate, site, combine);
}
inline int __any_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SIMT_SITE) {
  return __ballot_sync(mask, predicate, site) == mask;
}

// --- Atomics: relaxed, return the old value -----------------------------------------------------

#define SIMT_ATOMIC(name, result)                                                             \
  template <class T>                                                                          \
  [[gnu::noinline, gnu::no_sanitize("thread")]] T name(T* p, std::type_identity_t<T> value) { \
    simt::note_atomic(p, sizeof(T), __builtin_return_address(0));                             \
    const T old = *p;                                                                         \
    *p = static_cast<T>(result);                                                              \
    return old;                                                                               \
  }
SIMT_ATOMIC(atomicAdd, old + value)
SIMT_ATOMIC(atomicMin, value < old ? value : old)
SIMT_ATOMIC(atomicMax, old < value ? value : old)

// --- Intrinsics ---------------------------------------------------------------------------------

template <class A, class B, class T = std::common_type_t<A, B>>
constexpr T min(A a, B b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmin(T(a), T(b));
  return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B, class T = std::common_type_t<A, B>>
constexpr T max(A a, B b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmax(T(a), T(b));
  return T(a) < T(b) ? T(b) : T(a);
}
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline float rsqrt(float a) { return 1 / sqrtf(a); }
inline double rsqrt(double a) { return 1 / sqrt(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline int __popc(unsigned a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(static_cast<unsigned>(a)); }
inline int __ffs(int a) { return a == 0 ? 0 : std::countr_zero(static_cast<unsigned>(a)) + 1; }
