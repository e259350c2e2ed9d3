// Element-wise kernels that load 16 bytes at a time: ragged lengths, addresses off by one element,
// a number in place of an array, and bfloat16, which computes in float32.
#include "entries.h"
#include "support.h"

namespace striate {
namespace {

constexpr int64_t kCounts[] = {1, 7, 8, 4096, 4101};

struct Operands {
  bool a_is_array, b_is_array;
  int64_t misaligned;
};
constexpr Operands kOperands[] = {
    {true, true, 0}, {true, false, 0}, {false, true, 0}, {false, false, 0}, {true, true, 1}};

template <class T>
void check_binary(BinaryOp op, int64_t n, const Operands& o) {
  CAPTURE(n);
  CAPTURE(o.misaligned);
  const auto x = integers<T>(n + 1, 1, 9), y = integers<T>(n + 1, 1, 9, 2);
  check_kernel<BinaryArgs>(cpu_kernels().binary, cuda::binary, [&](Arrays& a) {
    return BinaryArgs{op,  dtype_of<T>(),  a.in(x) + o.misaligned, a.in(y), a.out<T>(n),
                      {n}, {o.a_is_array}, {o.b_is_array},         {1}};
  });
}

template <class T>
void check_binaries() {
  for (const BinaryOp op : {BinaryOp::kAdd, BinaryOp::kSub, BinaryOp::kMul, BinaryOp::kDiv}) {
    for (const int64_t n : kCounts) {
      for (const Operands& operands : kOperands) check_binary<T>(op, n, operands);
    }
  }
}

TEST_CASE("binary in vectors") {
  check_binaries<float>();
  check_binaries<double>();
  check_binaries<__nv_bfloat16>();
}

TEST_CASE("integers wrap around") {
  const std::vector<int32_t> x = {INT32_MAX, INT32_MIN, 1 << 20}, y = {1, -1, 1 << 20};
  for (const BinaryOp op : {BinaryOp::kAdd, BinaryOp::kSub, BinaryOp::kMul}) {
    check_kernel<BinaryArgs>(cpu_kernels().binary, cuda::binary, [&](Arrays& a) {
      return BinaryArgs{op, DType::kInt32, a.in(x), a.in(y), a.out<int32_t>(3), {3}, {1}, {1}, {1}};
    });
  }
}

TEST_CASE("unary and its gradient in bfloat16") {
  using T = __nv_bfloat16;
  constexpr double kLastPlace = 0x1p-7;
  for (const int64_t n : kCounts) {
    const auto x = integers<T>(n, 1, 8), grad = integers<T>(n, -8, 8, 3);
    for (int k = 0; k <= static_cast<int>(UnaryOp::kTanh); ++k) {
      const UnaryOp op{static_cast<uint8_t>(k)};
      CAPTURE(k);
      check_kernel<UnaryArgs>(
          cpu_kernels().unary, cuda::unary,
          [&](Arrays& a) { return UnaryArgs{op, DType::kBFloat16, a.in(x), a.out<T>(n), n}; },
          kLastPlace);
      if (op == UnaryOp::kNeg) continue;
      check_kernel<UnaryBackwardArgs>(
          cpu_kernels().unary_backward, cuda::unary_backward,
          [&](Arrays& a) {
            return UnaryBackwardArgs{op, DType::kBFloat16, a.in(grad), a.in(x), a.out<T>(n), n};
          },
          kLastPlace);
    }
  }
}

TEST_CASE("axpby in bfloat16") {
  using T = __nv_bfloat16;
  for (const int64_t n : kCounts) {
    const auto x = integers<T>(n), y = integers<T>(n, -8, 8, 2);
    for (const bool scale : {false, true}) {
      check_kernel<AxpbyArgs>(cpu_kernels().axpby, cuda::axpby, [&](Arrays& a) {
        return AxpbyArgs{DType::kBFloat16, scale ? nullptr : a.in(x), a.inout(y), n, 3, -2};
      });
    }
  }
}

TEST_CASE("random numbers in bfloat16 are the CPU's float32 ones, rounded") {
  for (const Distribution distribution : {Distribution::kUniform, Distribution::kNormal}) {
    for (const int64_t n : kCounts) {
      Arrays a(0);
      float* const x = a.out<float>(n);
      auto* const y = a.out<__nv_bfloat16>(n);
      cpu_kernels().random({DType::kFloat32, x, n, distribution, -1, 2, 42, 3}, Stream{});
      cuda::random({DType::kBFloat16, y, n, distribution, -1, 2, 42, 3}, Stream{});
      for (int64_t i = 0; i < n; ++i) {
        REQUIRE(__bfloat162float(y[i]) == __bfloat162float(__float2bfloat16_rn(x[i])));
      }
    }
  }
}

}  // namespace
}  // namespace striate
