// Arithmetic and comparisons of two broadcast arrays. Bound by memory.
#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

constexpr bool is_comparison(BinaryOp op) { return op >= BinaryOp::kEq; }

/// Integers wrap around, which the language defines for unsigned ones only.
template <class T>
struct Wrapping : std::type_identity<T> {};
template <>
struct Wrapping<int32_t> : std::type_identity<uint32_t> {};
template <>
struct Wrapping<int64_t> : std::type_identity<uint64_t> {};

template <BinaryOp kOp, class T>
__device__ auto apply(T a, T b) {
  using W = typename Wrapping<T>::type;
  if constexpr (kOp == BinaryOp::kAdd) {
    return static_cast<T>(static_cast<W>(a) + static_cast<W>(b));
  } else if constexpr (kOp == BinaryOp::kSub) {
    return static_cast<T>(static_cast<W>(a) - static_cast<W>(b));
  } else if constexpr (kOp == BinaryOp::kMul) {
    return static_cast<T>(static_cast<W>(a) * static_cast<W>(b));
  } else if constexpr (kOp == BinaryOp::kDiv) {
    return a / b;
  } else if constexpr (kOp == BinaryOp::kPow) {
    return b == 2 ? a * a : pow(a, b);
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

/// Of one dimension, where a step is 0 (one value for all) or 1.
template <BinaryOp kOp, class T>
__global__ void dense_binary_kernel(const T* a, int a_step, const T* b, int b_step, T* y, int64_t n,
                                    bool aligned) {
  constexpr int kWidth = kLanes<T>;
  for_each_item<kMapItems>(ceil_div(n, kWidth), [&](int64_t i) {
    const int64_t first = i * kWidth, count = n - first;
    const bool whole = aligned && count >= kWidth;
    const auto operand = [&](const T* x, int step) {
      if (step == 1) return load_part<kWidth>(x + first, count, whole);
      Vector<Compute<T>, kWidth> v;
#pragma unroll
      for (int k = 0; k < kWidth; ++k) v.lane[k] = convert<Compute<T>>(*x);
      return v;
    };
    store_mapped([](Compute<T> u, Compute<T> v) { return apply<kOp>(u, v); }, y + first, count,
                 whole, operand(a, a_step), operand(b, b_step));
  });
}

template <BinaryOp kOp, class T, class Y, class Index>
__global__ void binary_kernel(const T* a, const T* b, Y* y, StridedSpace<3, Index> space) {
  for_each_item(space.numel, [&](Index i) {
    Index offset[3];
    space.offsets(i, offset);
    using C = Compute<T>;
    y[offset[2]] = convert<Y>(apply<kOp>(convert<C>(a[offset[0]]), convert<C>(b[offset[1]])));
  });
}

// --- Launcher -----------------------------------------------------------------------------------

/// Of the pairs that src/ops lets through.
template <BinaryOp kOp, class T>
constexpr bool is_defined() {
  if (is_comparison(kOp)) return true;
  if (kOp == BinaryOp::kDiv || kOp == BinaryOp::kPow) return std::is_floating_point_v<Compute<T>>;
  return !std::is_same_v<T, bool>;
}

bool is_dense(const BinaryArgs& args) {
  const auto step_is = [](const Dims& strides, int64_t low) {
    return strides[0] >= low && strides[0] <= 1;
  };
  return args.shape.size() == 1 && step_is(args.a_strides, 0) && step_is(args.b_strides, 0) &&
         step_is(args.y_strides, 1);
}

/// Vectors where they pay, in networks' arithmetic; false where the general kernel has to do it.
template <BinaryOp kOp, class T>
bool launch_dense(const BinaryArgs& args, Stream stream) {
  if constexpr (kOp <= BinaryOp::kDiv && std::is_floating_point_v<Compute<T>>) {
    if (!is_dense(args)) return false;
    const int64_t n = args.shape[0];
    const auto fits = [](const void* x, int64_t step) { return step == 0 || is_aligned(x); };
    const bool aligned =
        fits(args.a, args.a_strides[0]) && fits(args.b, args.b_strides[0]) && is_aligned(args.y);
    launch_items<kMapItems>("binary", dense_binary_kernel<kOp, T>, ceil_div(n, kLanes<T>), stream,
                            static_cast<const T*>(args.a), static_cast<int>(args.a_strides[0]),
                            static_cast<const T*>(args.b), static_cast<int>(args.b_strides[0]),
                            static_cast<T*>(args.y), n, aligned);
    return true;
  } else {
    return false;
  }
}

}  // namespace

void binary(const BinaryArgs& args, Stream stream) {
  using enum BinaryOp;
  with_type(args.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kAdd, kSub, kMul, kDiv, kPow, kEq, kNe, kLt, kLe, kGt, kGe>(args.op, [&](auto op) {
      if constexpr (is_defined<op(), T>()) {
        if (launch_dense<op(), T>(args, stream)) return;
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
