// Element-wise operators. Contiguous rows go to isa/rows_element.cpp, any other strides through
// plain loops.
#include <cmath>
#include <type_traits>
#include <utility>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// The loop of an operator: members are in the order of UnaryOp.
template <class T>
auto unary_row(UnaryOp op) {
  using Rows = ElementKernels<T>;
  constexpr typename Rows::Unary Rows::* kMembers[] = {&Rows::neg,     &Rows::exp, &Rows::log,
                                                       &Rows::sqrt,    &Rows::abs, &Rows::relu,
                                                       &Rows::sigmoid, &Rows::tanh};
  return isa().rows<T>().element.*kMembers[static_cast<int>(op)];
}

/// That of neg is not called: it is neg.
template <class T>
auto unary_backward_row(UnaryOp op) {
  using Rows = ElementKernels<T>;
  constexpr typename Rows::UnaryBackward Rows::* kMembers[] = {nullptr,
                                                               &Rows::exp_backward,
                                                               &Rows::log_backward,
                                                               &Rows::sqrt_backward,
                                                               &Rows::abs_backward,
                                                               &Rows::relu_backward,
                                                               &Rows::sigmoid_backward,
                                                               &Rows::tanh_backward};
  return isa().rows<T>().element.*kMembers[static_cast<int>(op)];
}

int64_t unary_grain(UnaryOp op) {
  const bool costly =
      op == UnaryOp::kExp || op == UnaryOp::kLog || op == UnaryOp::kSigmoid || op == UnaryOp::kTanh;
  return costly ? kElementGrain / 4 : kElementGrain;
}

template <BinaryOp kOp, class T>
auto apply(T a, T b) {
  // Integers wrap around; unsigned arithmetic does so without undefined behaviour.
  using Wrapping = typename std::conditional_t<
      std::is_same_v<T, int32_t>, std::type_identity<uint32_t>,
      std::conditional_t<std::is_same_v<T, int64_t>, std::type_identity<uint64_t>,
                         std::type_identity<T>>>::type;
  const Wrapping u = static_cast<Wrapping>(a), v = static_cast<Wrapping>(b);
  if constexpr (kOp == BinaryOp::kAdd) {
    return static_cast<T>(u + v);
  } else if constexpr (kOp == BinaryOp::kSub) {
    return static_cast<T>(u - v);
  } else if constexpr (kOp == BinaryOp::kMul) {
    return static_cast<T>(u * v);
  } else if constexpr (kOp == BinaryOp::kDiv) {
    return static_cast<T>(u / v);
  } else if constexpr (kOp == BinaryOp::kPow) {
    return static_cast<T>(v == T(2) ? u * u : std::pow(u, v));
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
    return a >= b;
  }
}

template <BinaryOp kOp>
auto apply(BFloat16 a, BFloat16 b) {
  const auto result = apply<kOp>(value_of(a), value_of(b));
  if constexpr (std::is_same_v<decltype(result), const bool>) {
    return result;
  } else {
    return to_bfloat16(result);
  }
}

/// Calls run(n, a, b, y) on rows; strides within a row are those of the last dimension.
template <class T, class Result, class Run>
void for_each_row(const BinaryArgs& args, int64_t grain, const Run& run) {
  parallel_for(numel(args.shape), grain, [&](int64_t begin, int64_t end) {
    for_each_run<3>(args.shape, {&args.a_strides, &args.b_strides, &args.y_strides}, begin, end,
                    [&](const auto& offsets, int64_t count) {
                      run(count, static_cast<const T*>(args.a) + offsets[0],
                          static_cast<const T*>(args.b) + offsets[1],
                          static_cast<Result*>(args.y) + offsets[2]);
                    });
  });
}

/// Any operator on any strides.
template <BinaryOp kOp, class T>
void strided_binary(const BinaryArgs& args) {
  using Result = decltype(apply<kOp>(T{}, T{}));
  const int64_t sa = args.a_strides.empty() ? 0 : args.a_strides.back();
  const int64_t sb = args.b_strides.empty() ? 0 : args.b_strides.back();
  const int64_t sy = args.y_strides.empty() ? 0 : args.y_strides.back();
  const int64_t grain = kOp == BinaryOp::kPow ? kElementGrain / 16 : kElementGrain;
  for_each_row<T, Result>(args, grain, [=](int64_t n, const T* a, const T* b, Result* y) {
    if (sa == 1 && sb == 1 && sy == 1) {
      for (int64_t i = 0; i < n; ++i) y[i] = apply<kOp>(a[i], b[i]);
    } else if (sa == 1 && sb == 0 && sy == 1) {
      const T scalar = *b;
      for (int64_t i = 0; i < n; ++i) y[i] = apply<kOp>(a[i], scalar);
    } else {
      for (int64_t i = 0; i < n; ++i) y[i * sy] = apply<kOp>(a[i * sa], b[i * sb]);
    }
  });
}

using Binary = void (*)(const BinaryArgs&);

/// Null for quotients and powers of integers, which there are none of.
template <BinaryOp kOp, class T>
constexpr Binary strided_or_null() {
  if constexpr (!kIsFloating<T> && (kOp == BinaryOp::kDiv || kOp == BinaryOp::kPow)) {
    return nullptr;
  } else {
    return strided_binary<kOp, T>;
  }
}

template <class T, int... kOps>
void binary_of(const BinaryArgs& args, std::integer_sequence<int, kOps...>) {
  constexpr Binary kRuns[] = {strided_or_null<BinaryOp{kOps}, T>()...};
  kRuns[static_cast<int>(args.op)](args);
}

/// + - * / of floating types with contiguous or constant rows; false if these are not.
template <class T>
bool contiguous_binary(const BinaryArgs& args) {
  const ElementKernels<T>& rows = isa().rows<T>().element;
  if (args.op > BinaryOp::kDiv || args.shape.empty() || args.y_strides.back() != 1) return false;
  const auto& kernel = args.op == BinaryOp::kAdd   ? rows.add
                       : args.op == BinaryOp::kSub ? rows.sub
                       : args.op == BinaryOp::kMul ? rows.mul
                                                   : rows.div;
  const int64_t sa = args.a_strides.back(), sb = args.b_strides.back();
  if (sa == 1 && sb == 1) {
    for_each_row<T, T>(args, kElementGrain, kernel.vectors);
  } else if (sa == 0 && sb == 1) {
    for_each_row<T, T>(args, kElementGrain, [&](int64_t n, const T* a, const T* b, T* y) {
      kernel.scalar_first(n, value_of(*a), b, y);
    });
  } else if (sa == 1 && sb == 0) {
    for_each_row<T, T>(args, kElementGrain, [&](int64_t n, const T* a, const T* b, T* y) {
      kernel.scalar_second(n, a, value_of(*b), y);
    });
  } else {
    return false;
  }
  return true;
}

}  // namespace

void unary(const UnaryArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const auto row = unary_row<T>(args.op);
    parallel_for(args.n, unary_grain(args.op),
                 [&](int64_t begin, int64_t end) { row(end - begin, x + begin, y + begin); });
  });
}

void unary_backward(const UnaryBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const T* grad_y = static_cast<const T*>(args.grad_y);
    const T* saved = static_cast<const T*>(args.saved);
    T* grad_x = static_cast<T*>(args.grad_x);
    const auto row = unary_backward_row<T>(args.op);
    parallel_for(args.n, kElementGrain, [&](int64_t begin, int64_t end) {
      row(end - begin, grad_y + begin, saved + begin, grad_x + begin);
    });
  });
}

void binary(const BinaryArgs& args, Stream) {
  with_any(args.dtype, [&]<class T>(T) {
    if constexpr (kIsFloating<T>) {
      if (contiguous_binary<T>(args)) return;
    }
    binary_of<T>(args, std::make_integer_sequence<int, static_cast<int>(BinaryOp::kGe) + 1>());
  });
}

void axpby(const AxpbyArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const ElementKernels<T>& rows = isa().rows<T>().element;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const auto alpha = static_cast<Compute<T>>(args.alpha);
    const auto beta = static_cast<Compute<T>>(args.beta);
    parallel_for(args.n, kElementGrain, [&](int64_t begin, int64_t end) {
      if (x == nullptr) {
        rows.mul.scalar_second(end - begin, y + begin, beta, y + begin);
      } else {
        rows.axpby(end - begin, alpha, x + begin, beta, y + begin);
      }
    });
  });
}

}  // namespace striate::cpu
