// cuda/elementwise.cu and cuda/binary.cu against the CPU backend.
#include "entries.h"
#include "support.h"

namespace striate {
namespace {

constexpr int64_t kCounts[] = {1, 1024, 2051};

template <class T>
void check_unary() {
  const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;
  for (const int64_t n : kCounts) {
    const auto x = integers<T>(n), positive = integers<T>(n, 1, 64),
               grad = integers<T>(n, -8, 8, 3);
    for (int k = 0; k <= static_cast<int>(UnaryOp::kTanh); ++k) {
      const UnaryOp op{static_cast<uint8_t>(k)};
      CAPTURE(k);
      const auto& values = op == UnaryOp::kLog || op == UnaryOp::kSqrt ? positive : x;
      const bool exact = op == UnaryOp::kNeg || op == UnaryOp::kAbs || op == UnaryOp::kRelu;
      check_kernel<UnaryArgs>(
          cpu_kernels().unary, cuda::unary,
          [&](Arrays& a) { return UnaryArgs{op, dtype_of<T>(), a.in(values), a.out<T>(n), n}; },
          exact ? 0 : 100 * tolerance);
      if (op == UnaryOp::kNeg) continue;
      check_kernel<UnaryBackwardArgs>(
          cpu_kernels().unary_backward, cuda::unary_backward,
          [&](Arrays& a) {
            return UnaryBackwardArgs{op, dtype_of<T>(), a.in(grad), a.in(values), a.out<T>(n), n};
          },
          exact ? 0 : tolerance);
    }
  }
}

TEST_CASE("unary") {
  check_unary<float>();
  check_unary<double>();
}

TEST_CASE("axpby") {
  for (const int64_t n : kCounts) {
    const auto x = integers<float>(n), y = integers<float>(n, -8, 8, 2);
    for (const bool scale : {false, true}) {
      check_kernel<AxpbyArgs>(cpu_kernels().axpby, cuda::axpby, [&](Arrays& a) {
        return AxpbyArgs{DType::kFloat32, scale ? nullptr : a.in(x), a.inout(y), n, 3, -2};
      });
    }
  }
}

/// A (5, 1, 67) array with a (13, 67) one whose middle axis is reversed in memory.
template <class T>
void check_binary(BinaryOp op) {
  const auto x = integers<T>(5 * 67, 1, 4), y = integers<T>(13 * 67, 1, 4, 2);
  const double tolerance = op == BinaryOp::kPow ? 1e-6 : 0;
  check_kernel<BinaryArgs>(
      cpu_kernels().binary, cuda::binary,
      [&](Arrays& a) {
        void* const result = op >= BinaryOp::kEq ? static_cast<void*>(a.out<bool>(5 * 13 * 67))
                                                 : a.out<T>(5 * 13 * 67);
        return BinaryArgs{op,          dtype_of<T>(), a.in(x),     a.in(y) + 12 * 67, result,
                          {5, 13, 67}, {67, 0, 1},    {0, -67, 1}, {13 * 67, 67, 1}};
      },
      tolerance);
}

TEST_CASE("binary") {
  for (int k = 0; k <= static_cast<int>(BinaryOp::kGe); ++k) {
    const BinaryOp op{static_cast<uint8_t>(k)};
    CAPTURE(k);
    check_binary<float>(op);
    check_binary<double>(op);
    if (op == BinaryOp::kDiv || op == BinaryOp::kPow) continue;
    check_binary<int64_t>(op);
    check_binary<int32_t>(op);
    check_binary<uint8_t>(op);
  }
}

}  // namespace
}  // namespace striate
