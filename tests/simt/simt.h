// CUDA C++ on the host: included before the first line of every kernel source when g++ compiles it.
// Every CUDA thread is a fiber, and the blocks of a grid run one after another; scheduler.cpp says
// in which order. What is missing here is missing on purpose: see the rules in docs/cuda.md.
#pragma once

#define __shared__ static  // one block at a time
#include <cuda_runtime.h>
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__

#include <math.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>
#include <type_traits>

// --- The harness --------------------------------------------------------------------------------

namespace simt {

/// Where a kernel called a primitive: the default of every primitive's last parameter.
using Site = std::source_location;

/// Of the running CUDA thread.
struct Context {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
};
extern Context context;

/// Runs a kernel to its end; the first error that it makes ends the process.
void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& kernel);
[[noreturn]] void fail(Site site, const char* message);
void* dynamic_shared();
int lane();

/// Waits for all threads of the block that have not ended.
void barrier(Site site);

/// A warp operation that lanes of one mask make together.
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
    if ((mask >> from & 1) == 0) fail(site, "reads a lane that is not in the mask");
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
inline constexpr int warpSize = 32;

// --- Synchronisation ----------------------------------------------------------------------------

inline void __syncthreads(simt::Site site = simt::Site::current()) { simt::barrier(site); }

inline void __syncwarp(unsigned mask = ~0u, simt::Site site = simt::Site::current()) {
  simt::warp_operation<int>("__syncwarp", mask, 0, site, [&](int to, const auto&) {
    if (to == std::countr_zero(mask)) simt::note_syncwarp(mask);
    return 0;
  });
}

inline void __threadfence() {}
inline void __threadfence_block() {}

// --- Warp operations ----------------------------------------------------------------------------

namespace simt {

template <class T, class Source>
T shuffle(const char* name, unsigned mask, T value, int width, Site site, const Source& source) {
  return warp_operation<T>(name, mask, value, site, [&](int to, const auto& in_of) {
    const int first = to & ~(width - 1);
    const int from = source(to - first);  // within the segment; outside it the own value comes back
    return in_of(from >= 0 && from < width ? first + from : to);
  });
}

}  // namespace simt

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32,
              simt::Site site = simt::Site::current()) {
  // The source is each lane's own choice, so it travels with the value.
  struct Choice {
    T value;
    int from;
  };
  return simt::warp_operation<T>("__shfl_sync", mask, Choice{value, from}, site,
                                 [&](int to, const auto& in_of) {
                                   const int wanted = in_of(to).from & (width - 1);
                                   return in_of((to & ~(width - 1)) + wanted).value;
                                 });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 simt::Site site = simt::Site::current()) {
  return simt::shuffle("__shfl_up_sync", mask, value, width, site,
                       [=](int at) { return at - static_cast<int>(delta); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   simt::Site site = simt::Site::current()) {
  return simt::shuffle("__shfl_down_sync", mask, value, width, site,
                       [=](int at) { return at + static_cast<int>(delta); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  simt::Site site = simt::Site::current()) {
  return simt::shuffle("__shfl_xor_sync", mask, value, width, site,
                       [=](int at) { return at ^ bits; });
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              simt::Site site = simt::Site::current()) {
  return simt::warp_operation<unsigned>("__ballot_sync", mask, predicate, site,
                                        [&](int, const auto& in_of) {
                                          unsigned ballot = 0;
                                          for (int from = 0; from < 32; ++from) {
                                            if (mask >> from & 1)
                                              ballot |= unsigned{in_of(from) != 0} << from;
                                          }
                                          return ballot;
                                        });
}
inline int __any_sync(unsigned mask, int predicate, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, simt::Site site = simt::Site::current()) {
  return __ballot_sync(mask, predicate, site) == mask;
}

namespace simt {

template <class T, class Join>
T reduce(const char* name, unsigned mask, T value, Site site, const Join& join) {
  return warp_operation<T>(name, mask, value, site, [&](int, const auto& in_of) {
    T result = in_of(std::countr_zero(mask));
    for (unsigned rest = mask & (mask - 1); rest != 0; rest &= rest - 1) {
      result = join(result, in_of(std::countr_zero(rest)));
    }
    return result;
  });
}

}  // namespace simt

#define SIMT_REDUCE(name, expression)                                                        \
  template <class T>                                                                         \
  T name(unsigned mask, T value, simt::Site site = simt::Site::current()) {                  \
    static_assert(std::is_integral_v<T> && sizeof(T) == 4);                                  \
    return simt::reduce(#name, mask, value, site, [](T a, T b) -> T { return expression; }); \
  }
SIMT_REDUCE(__reduce_add_sync, static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
SIMT_REDUCE(__reduce_min_sync, a < b ? a : b)
SIMT_REDUCE(__reduce_max_sync, a < b ? b : a)
SIMT_REDUCE(__reduce_and_sync, a& b)
SIMT_REDUCE(__reduce_or_sync, a | b)
SIMT_REDUCE(__reduce_xor_sync, a ^ b)
#undef SIMT_REDUCE

// --- Atomics: relaxed, return the old value -----------------------------------------------------

#define SIMT_ATOMIC(name, expression)                                                      \
  template <class T>                                                                       \
  __attribute__((noinline, no_sanitize("thread"))) T name(T* address,                      \
                                                          std::type_identity_t<T> value) { \
    simt::note_atomic(address, sizeof(T), __builtin_return_address(0));                    \
    const T old = *address;                                                                \
    *address = static_cast<T>(expression);                                                 \
    return old;                                                                            \
  }
SIMT_ATOMIC(atomicAdd, old + value)
SIMT_ATOMIC(atomicSub, old - value)
SIMT_ATOMIC(atomicMin, value < old ? value : old)
SIMT_ATOMIC(atomicMax, old < value ? value : old)
SIMT_ATOMIC(atomicAnd, old& value)
SIMT_ATOMIC(atomicOr, old | value)
SIMT_ATOMIC(atomicXor, old ^ value)
SIMT_ATOMIC(atomicExch, value)
#undef SIMT_ATOMIC

// --- Intrinsics ---------------------------------------------------------------------------------

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmin(static_cast<T>(a), static_cast<T>(b));
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmax(static_cast<T>(a), static_cast<T>(b));
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float a) { return expf(a); }
inline float __logf(float a) { return logf(a); }
inline float __powf(float a, float b) { return powf(a, b); }
inline float rsqrtf(float a) { return 1 / sqrtf(a); }
inline float rsqrt(float a) { return 1 / sqrtf(a); }
inline double rsqrt(double a) { return 1 / sqrt(a); }
inline float __saturatef(float a) { return a > 0 ? fminf(a, 1) : 0; }  // NaN: 0

inline int __float2int_rn(float a) { return static_cast<int>(nearbyintf(a)); }
inline int __float2int_rd(float a) { return static_cast<int>(floorf(a)); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline double __longlong_as_double(long long a) { return std::bit_cast<double>(a); }

inline int __popc(unsigned a) { return std::popcount(a); }
inline int __popcll(unsigned long long a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero(static_cast<unsigned>(a)); }
inline int __ffs(int a) { return a == 0 ? 0 : std::countr_zero(static_cast<unsigned>(a)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
