// Arithmetic and comparisons of two broadcast arrays. Bound by memory.
#include "entries.h"
#include "index.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

constexpr bool is_comparison(BinaryOp op) { return op >= BinaryOp::kEq; }

template <BinaryOp kOp, class T>
__device__ auto apply(T a, T b) {
  if constexpr (kOp == BinaryOp::kAdd) {
    return static_cast<T>(a + b);
  } else if constexpr (kOp == BinaryOp::kSub) {
    return static_cast<T>(a - b);
  } else if constexpr (kOp == BinaryOp::kMul) {
    return static_cast<T>(a * b);
  } else if constexpr (kOp == BinaryOp::kDiv) {
    return a / b;
  } else if constexpr (kOp == BinaryOp::kPow) {
    return pow(a, b);
  } else if constexpr (kOp == BinaryOp::kEq) {
    return a == b;
  } else if constexpr (kOp == BinaryOp::kNe) {
    return a != b;
  } else if constexpr (kOp == BinaryOp::kLt) {
    return a < b;
  } else if constexpr (kOp == BinaryOp::kLe) {
    return a <= b;
  } else if constexpr (kOp == BinaryOp::kGt) {
    return a > b;
  } else {
    static_assert(kOp == BinaryOp::kGe);
    return a >= b;
  }
}

template <BinaryOp kOp, class T, class Y, class Index>
__global__ void binary_kernel(const T* a, const T* b, Y* y, StridedSpace<3, Index> space) {
  for_each_item(space.numel, [&](Index i) {
    Index offset[3];
    space.offsets(i, offset);
    y[offset[2]] = apply<kOp>(a[offset[0]], b[offset[1]]);
  });
}

// --- Launcher -----------------------------------------------------------------------------------

/// Of the pairs that src/ops lets through.
template <BinaryOp kOp, class T>
constexpr bool is_defined() {
  if (std::is_same_v<T, __nv_bfloat16>) return false;
  if (is_comparison(kOp)) return true;
  if (kOp == BinaryOp::kDiv || kOp == BinaryOp::kPow) return std::is_floating_point_v<T>;
  return !std::is_same_v<T, bool>;
}

}  // namespace

void binary(const BinaryArgs& args, Stream stream) {
  using enum BinaryOp;
  with_type(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kAdd, kSub, kMul, kDiv, kPow, kEq, kNe, kLt, kLe, kGt, kGe>(args.op, [&](auto op) {
      if constexpr (is_defined<op(), T>()) {
        using Y = std::conditional_t<is_comparison(op()), bool, T>;
        with_space<3>(args.shape, {&args.a_strides, &args.b_strides, &args.y_strides},
                      [&](const auto& space) {
                        using Index = decltype(std::remove_cvref_t<decltype(space)>::numel);
                        launch_items("binary", binary_kernel<op(), T, Y, Index>, space.numel,
                                     stream, static_cast<const T*>(args.a),
                                     static_cast<const T*>(args.b), static_cast<Y*>(args.y), space);
                      });
      }
    });
  });
}

}  // namespace striate::cuda
