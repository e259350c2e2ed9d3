// Functions of one element, their derivatives, and the scaled sum of two arrays. Bound by memory.
#include "entries.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Functions ----------------------------------------------------------------------------------

template <UnaryOp kOp>
struct Unary {
  template <class T>
  __device__ T operator()(T x) const {
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
};

/// f'(x) from f(x), or from x for log and abs.
template <UnaryOp kOp>
struct UnaryBackward {
  template <class T>
  __device__ T operator()(T grad_y, T saved) const {
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
};

template <class T>
struct Axpby {
  T alpha, beta;
  __device__ T operator()(T x, T y) const { return alpha * x + beta * y; }
};

template <class T>
struct Scale {
  T beta;
  __device__ T operator()(T y) const { return beta * y; }
};

}  // namespace

// --- Launchers ----------------------------------------------------------------------------------

void unary(const UnaryArgs& a, Stream stream) {
  using enum UnaryOp;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kNeg, kExp, kLog, kSqrt, kAbs, kRelu, kSigmoid, kTanh>(
        a.op, [&](auto op) { map<T>("unary", a.n, stream, Unary<op()>{}, a.y, a.x); });
  });
}

void unary_backward(const UnaryBackwardArgs& a, Stream stream) {
  using enum UnaryOp;
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    with_value<kExp, kLog, kSqrt, kAbs, kRelu, kSigmoid, kTanh>(a.op, [&](auto op) {
      map<T>("unary_backward", a.n, stream, UnaryBackward<op()>{}, a.grad_x, a.grad_y, a.saved);
    });
  });
}

void axpby(const AxpbyArgs& a, Stream stream) {
  with_floating_type(a.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    using C = Compute<T>;
    const C alpha = static_cast<C>(a.alpha), beta = static_cast<C>(a.beta);
    if (a.x == nullptr) {
      map<T>("axpby", a.n, stream, Scale<C>{beta}, a.y, a.y);
    } else {
      map<T>("axpby", a.n, stream, Axpby<C>{alpha, beta}, a.y, a.x, a.y);
    }
  });
}

}  // namespace striate::cuda
