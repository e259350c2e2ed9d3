// Element-wise operators. Contiguous rows go to isa/rows_element.cpp, any other strides through
// plain loops.
#include <cmath>
#include <functional>
#include <initializer_list>
#include <type_traits>

#include "cpu/dispatch.h"
#include "cpu/isa.h"
#include "cpu/kernels.h"
#include "cpu/strided.h"
#include "cpu/thread_pool.h"

namespace striate::cpu {
namespace {

/// The loop of an operator, from a list in the order of its enumeration.
template <class Op, class Row>
Row by_op(Op op, std::initializer_list<Row> rows) {
  return rows.begin()[static_cast<int>(op)];
}

int64_t unary_grain(UnaryOp op) {
  const bool costly =
      op == UnaryOp::kExp || op == UnaryOp::kLog || op == UnaryOp::kSigmoid || op == UnaryOp::kTanh;
  return costly ? kElementGrain / 4 : kElementGrain;
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

/// y = function(a, b) on any strides.
template <class T, class Result, class Function>
void strided_binary(const BinaryArgs& args, int64_t grain, const Function& function) {
  const int64_t sa = args.a_strides.empty() ? 0 : args.a_strides.back();
  const int64_t sb = args.b_strides.empty() ? 0 : args.b_strides.back();
  const int64_t sy = args.y_strides.empty() ? 0 : args.y_strides.back();
  for_each_row<T, Result>(args, grain, [=](int64_t n, const T* a, const T* b, Result* y) {
    if (sa == 1 && sb == 1 && sy == 1) {
      for (int64_t i = 0; i < n; ++i) y[i] = function(a[i], b[i]);
    } else if (sa == 1 && sb == 0 && sy == 1) {
      const T scalar = *b;
      for (int64_t i = 0; i < n; ++i) y[i] = function(a[i], scalar);
    } else {
      for (int64_t i = 0; i < n; ++i) y[i * sy] = function(a[i * sa], b[i * sb]);
    }
  });
}

template <class T>
void binary_of(const BinaryArgs& args) {
  // Integers wrap around; unsigned arithmetic does so without undefined behaviour.
  using Operand =
      std::conditional_t<std::is_same_v<T, int32_t>, uint32_t,
                         std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, Compute<T>>>;
  const auto arithmetic = [&](const auto& function, int64_t grain = kElementGrain) {
    strided_binary<T, T>(args, grain, [=](T a, T b) {
      return convert<T>(
          function(static_cast<Operand>(value_of(a)), static_cast<Operand>(value_of(b))));
    });
  };
  const auto comparison = [&](const auto& function) {
    strided_binary<T, bool>(args, kElementGrain,
                            [=](T a, T b) { return function(value_of(a), value_of(b)); });
  };
  switch (args.op) {
    case BinaryOp::kAdd:
      return arithmetic(std::plus());
    case BinaryOp::kSub:
      return arithmetic(std::minus());
    case BinaryOp::kMul:
      return arithmetic(std::multiplies());
    case BinaryOp::kDiv:
      if constexpr (kIsFloating<T>) return arithmetic(std::divides());
      return;
    case BinaryOp::kPow:
      if constexpr (kIsFloating<T>) {
        const auto power = [](auto u, auto v) { return v == 2 ? u * u : std::pow(u, v); };
        return arithmetic(power, kElementGrain / 16);
      }
      return;
    case BinaryOp::kEq:
      return comparison(std::equal_to());
    case BinaryOp::kNe:
      return comparison(std::not_equal_to());
    case BinaryOp::kLt:
      return comparison(std::less());
    case BinaryOp::kLe:
      return comparison(std::less_equal());
    case BinaryOp::kGt:
      return comparison(std::greater());
    case BinaryOp::kGe:
      return comparison(std::greater_equal());
  }
}

/// + - * / of floating types with contiguous or constant rows; false if these are not.
template <class T>
bool contiguous_binary(const BinaryArgs& args) {
  if (args.op > BinaryOp::kDiv || args.shape.empty() || args.y_strides.back() != 1) return false;
  const int64_t sa = args.a_strides.back(), sb = args.b_strides.back();
  if ((sa | sb) != 1) return false;  // 1 and 1, 0 and 1, 1 and 0
  const ElementKernels<T>& rows = isa().rows<T>().element;
  const auto kernel = by_op(args.op, {rows.add, rows.sub, rows.mul, rows.div});
  for_each_row<T, T>(args, kElementGrain,
                     [&](int64_t n, const T* a, const T* b, T* y) { kernel(n, a, sa, b, sb, y); });
  return true;
}

}  // namespace

void unary(const UnaryArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const ElementKernels<T>& rows = isa().rows<T>().element;
    const auto row = by_op(args.op, {rows.neg, rows.exp, rows.log, rows.sqrt, rows.abs, rows.relu,
                                     rows.sigmoid, rows.tanh});
    parallel_for(args.n, unary_grain(args.op),
                 [&](int64_t begin, int64_t end) { row(end - begin, x + begin, y + begin); });
  });
}

void unary_backward(const UnaryBackwardArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const T* grad_y = static_cast<const T*>(args.grad_y);
    const T* saved = static_cast<const T*>(args.saved);
    T* grad_x = static_cast<T*>(args.grad_x);
    const ElementKernels<T>& rows = isa().rows<T>().element;
    // That of neg is not called: it is neg.
    const auto row = by_op(args.op, {{},
                                     rows.exp_backward,
                                     rows.log_backward,
                                     rows.sqrt_backward,
                                     rows.abs_backward,
                                     rows.relu_backward,
                                     rows.sigmoid_backward,
                                     rows.tanh_backward});
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
    binary_of<T>(args);
  });
}

void axpby(const AxpbyArgs& args, Stream) {
  with_floating(args.dtype, [&]<class T>(T) {
    const auto row = isa().rows<T>().element.axpby;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    const auto alpha = static_cast<Compute<T>>(args.alpha);
    const auto beta = static_cast<Compute<T>>(args.beta);
    parallel_for(args.n, kElementGrain, [&](int64_t begin, int64_t end) {
      row(end - begin, alpha, x == nullptr ? nullptr : x + begin, beta, y + begin);
    });
  });
}

}  // namespace striate::cpu
