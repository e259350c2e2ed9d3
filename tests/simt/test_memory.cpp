// cuda/memory.cu and cuda/random.cu against the CPU backend.
#include "entries.h"
#include "support.h"

namespace striate {
namespace {

constexpr int64_t kCounts[] = {1, 255, 1024, 2051};

template <class... T, class Body>
void for_types(const Body& body) {
  (body(T{}), ...);
}

TEST_CASE("fill") {
  for_types<float, double, __nv_bfloat16, int64_t, int32_t, uint8_t, bool>([](auto type) {
    using T = decltype(type);
    for (const int64_t n : kCounts) {
      check_kernel<FillArgs>(cpu_kernels().fill, cuda::fill,
                             [&](Arrays& a) { return FillArgs{dtype_of<T>(), a.out<T>(n), n, 1}; });
    }
  });
}

TEST_CASE("arange") {
  for_types<float, double, __nv_bfloat16, int64_t, int32_t, uint8_t>([](auto type) {
    using T = decltype(type);
    for (const int64_t n : kCounts) {
      check_kernel<ArangeArgs>(cpu_kernels().arange, cuda::arange, [&](Arrays& a) {
        return ArangeArgs{dtype_of<T>(), a.out<T>(n), n, 3, 2};
      });
    }
  });
}

/// A (7, 19, 11) array to its transpose with gaps of one between rows.
CopyArgs transpose(DType from, DType to, const void* x, void* y) {
  return {from, to, x, y, {7, 19, 11}, {209, 11, 1}, {1, 8, 19 * 8}};
}
constexpr int64_t kTransposed = 11 * 19 * 8;

template <class From, class To>
void check_copy() {
  const auto x = integers<From>(7 * 19 * 11, 0, 100);
  check_kernel<CopyArgs>(cpu_kernels().copy, cuda::copy, [&](Arrays& a) {
    return transpose(dtype_of<From>(), dtype_of<To>(), a.in(x), a.out<To>(kTransposed));
  });
}

TEST_CASE("copy of every pair of types") {
  for_types<float, double, __nv_bfloat16, int64_t, int32_t, uint8_t>([](auto from) {
    for_types<float, double, __nv_bfloat16, int64_t, int32_t, uint8_t, bool>(
        [](auto to) { check_copy<decltype(from), decltype(to)>(); });
  });
}

TEST_CASE("copy of a block") {
  const auto x = integers<float>(1025);
  check_kernel<CopyArgs>(cpu_kernels().copy, cuda::copy, [&](Arrays& a) {
    return CopyArgs{
        DType::kFloat32, DType::kFloat32, a.in(x), a.out<float>(1025), {1025}, {1}, {1}};
  });
}

TEST_CASE("random") {
  for_types<float, double>([](auto type) {
    using T = decltype(type);
    for (const Distribution distribution : {Distribution::kUniform, Distribution::kNormal}) {
      for (const int64_t n : kCounts) {
        for (const uint64_t offset : {0, 1, 6}) {
          check_kernel<RandomArgs>(cpu_kernels().random, cuda::random, [&](Arrays& a) {
            return RandomArgs{dtype_of<T>(), a.out<T>(n), n, distribution, -1, 2, 42, offset};
          });
        }
      }
    }
  });
}

}  // namespace
}  // namespace striate
