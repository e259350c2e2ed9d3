// Functions of one element, their derivatives, and the scaled sum of two arrays. Bound by memory.
#include "entries.h"
#include "index.cuh"

namespace striate::cuda {
namespace {

// --- Kernels ------------------------------------------------------------------------------------

template <UnaryOp kOp, class T>
__device__ T apply(T x) {
  if constexpr (kOp == UnaryOp::kNeg) {
    return -x;
  } else if constexpr (kOp == UnaryOp::kExp) {
    return exp(x);
  } else if constexpr (kOp == UnaryOp::kLog) {
    return log(x);
  } else if constexpr (kOp == UnaryOp::kSqrt) {
    return sqrt(x);
  } else if constexpr (kOp == UnaryOp::kAbs) {
    return fabs(x);
  } else if constexpr (kOp == UnaryOp::kRelu) {
    return x <= 0 ? T{0} : x;  // asked this way round, NaN stays NaN
  } else if constexpr (kOp == UnaryOp::kSigmoid) {
    return 1 / (1 + exp(-x));
  } else {
    static_assert(kOp == UnaryOp::kTanh);
    return tanh(x);
  }
}

/// f'(x) from f(x), or from x for log and abs.
template <UnaryOp kOp, class T>
__device__ T grad(T grad_y, T saved) {
  if constexpr (kOp == UnaryOp::kExp) {
    return grad_y * saved;
  } else if constexpr (kOp == UnaryOp::kLog) {
    return grad_y / saved;
  } else if constexpr (kOp == UnaryOp::kSqrt) {
    return grad_y / (2 * saved);
  } else if constexpr (kOp == UnaryOp::kAbs) {
    return saved > 0 ? grad_y : saved < 0 ? -grad_y : saved * grad_y;  // 0, or NaN
  } else if constexpr (kOp == UnaryOp::kRelu) {
    return saved <= 0 ? T{0} : grad_y;
  } else if constexpr (kOp == UnaryOp::kSigmoid) {
    return grad_y * saved * (1 - saved);
  } else {
    static_assert(kOp == UnaryOp::kTanh);
    return grad_y * (1 - saved * saved);
  }
}

template <UnaryOp kOp, class T>
__global__ void unary_kernel(const T* x, T* y, int64_t n) {
  for_each_item(n, [&](int64_t i) { y[i] = apply<kOp>(x[i]); });
}

template <UnaryOp kOp, class T>
__global__ void unary_backward_kernel(const T* grad_y, const T* saved, T* grad_x, int64_t n) {
  for_each_item(n, [&](int64_t i) { grad_x[i] = grad<kOp>(grad_y[i], saved[i]); });
}

template <class T>
__global__ void axpby_kernel(const T* x, T* y, int64_t n, T alpha, T beta) {
  for_each_item(n, [&](int64_t i) { y[i] = alpha * x[i] + beta * y[i]; });
}

template <class T>
__global__ void scale_kernel(T* y, int64_t n, T beta) {
  for_each_item(n, [&](int64_t i) { y[i] = beta * y[i]; });
}

}  // namespace

// --- Launchers ----------------------------------------------------------------------------------

void unary(const UnaryArgs& a, Stream stream) {
  using enum UnaryOp;
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kNeg, kExp, kLog, kSqrt, kAbs, kRelu, kSigmoid, kTanh>(a.op, [&](auto op) {
      launch_items("unary", unary_kernel<op(), T>, a.n, stream, static_cast<const T*>(a.x),
                   static_cast<T*>(a.y), a.n);
    });
  });
}

void unary_backward(const UnaryBackwardArgs& a, Stream stream) {
  using enum UnaryOp;
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kExp, kLog, kSqrt, kAbs, kRelu, kSigmoid, kTanh>(a.op, [&](auto op) {
      launch_items("unary_backward", unary_backward_kernel<op(), T>, a.n, stream,
                   static_cast<const T*>(a.grad_y), static_cast<const T*>(a.saved),
                   static_cast<T*>(a.grad_x), a.n);
    });
  });
}

void axpby(const AxpbyArgs& a, Stream stream) {
  with_float_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const T alpha = static_cast<T>(a.alpha), beta = static_cast<T>(a.beta);
    if (a.x == nullptr) {
      launch_items("axpby", scale_kernel<T>, a.n, stream, static_cast<T*>(a.y), a.n, beta);
    } else {
      launch_items("axpby", axpby_kernel<T>, a.n, stream, static_cast<const T*>(a.x),
                   static_cast<T*>(a.y), a.n, alpha, beta);
    }
  });
}

}  // namespace striate::cuda
