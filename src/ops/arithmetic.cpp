// Binary arithmetic and comparison with NumPy broadcasting.
#include "ops/autocast.h"
#include "ops/common.h"
#include "ops/elementwise.h"

namespace striate {

void binary_into(const char* name, BinaryOp op, const Tensor& a, const Tensor& b, const Tensor& y) {
  if (y.numel() == 0) return;
  BinaryArgs args{op, a.dtype(), a.data(), b.data(), y.data(), y.shape(), {}, {}, y.strides()};
  args.a_strides = broadcast_strides(a, y.shape());
  args.b_strides = broadcast_strides(b, y.shape());
  order_by_stride(args.shape, {&args.y_strides, &args.a_strides, &args.b_strides});
  coalesce(args.shape, {&args.y_strides, &args.a_strides, &args.b_strides});
  launch(name, y.device(), &KernelTable::binary, args);
}

namespace {

/// The result takes the memory order of an operand that has its shape, so that channels-last
/// activations stay channels-last.
Tensor binary(const char* name, BinaryOp op, const Tensor& a, const Tensor& b) {
  check_defined(name, "the first operand", a);
  check_defined(name, "the second operand", b);
  check_same(name, "the first operand", a, "the second operand", b);
  const bool compares = op >= BinaryOp::kEq;
  require<DTypeError>(compares || a.dtype() != DType::kBool, name,
                      ": expected numbers, got bool; use .to(\"int64\")");
  require<DTypeError>((op != BinaryOp::kDiv && op != BinaryOp::kPow) || is_floating(a.dtype()),
                      name, ": expected floating-point operands, got ", a.dtype(),
                      "; use .to(\"float32\")");
  const DType dtype = compares ? DType::kBool : a.dtype();
  const Dims shape = broadcast_shape(name, a.shape(), b.shape());
  const auto leads = [&](const Tensor& x) { return x.shape() == shape && x.is_dense(); };
  const Tensor y = leads(a)   ? empty_like(a, dtype)
                   : leads(b) ? empty_like(b, dtype)
                              : empty(shape, {dtype, a.device()});
  binary_into(name, op, a, b, y);
  return y;
}

/// A scalar operand, as a tensor of no dimensions.
Tensor scalar_like(const char* name, const Tensor& x, double value) {
  check_defined(name, "the operand", x);
  check_scalar(name, x.dtype(), value);
  return full({}, value, options_of(x));
}

/// a + sign * b.
struct AddNode : Node {
  AddNode(const Tensor& a, const Tensor& b, int sign)
      : a_shape(a.shape()), b_shape(b.shape()), sign(sign) {}
  Dims a_shape, b_shape;
  int sign;

  const char* name() const override { return sign > 0 ? "add" : "sub"; }
  TensorList backward(const TensorList& grads) override {
    const Tensor& grad = grads[0];
    TensorList result(2);
    if (!grad.defined()) return result;
    if (needs_input(0)) result[0] = sum_to_shape(grad, a_shape);
    if (needs_input(1)) {
      result[1] = sum_to_shape(grad, b_shape);
      if (sign < 0) result[1] = neg(result[1]);
    }
    return result;
  }
  void release() override {}
};

/// Saves the operands that the gradients need.
struct ProductNode : Node {
  ProductNode(const Tensor& a, const Tensor& b) : a_shape(a.shape()), b_shape(b.shape()) {}
  Dims a_shape, b_shape;
  SavedTensor a, b;

  void release() override {
    a.reset();
    b.reset();
  }
};

struct MulNode : ProductNode {
  using ProductNode::ProductNode;
  const char* name() const override { return "mul"; }
  TensorList backward(const TensorList& grads) override {
    const Tensor& grad = grads[0];
    TensorList result(2);
    if (!grad.defined()) return result;
    if (needs_input(0)) result[0] = sum_to_shape(mul(grad, b.get(*this)), a_shape);
    if (needs_input(1)) result[1] = sum_to_shape(mul(grad, a.get(*this)), b_shape);
    return result;
  }
};

struct DivNode : ProductNode {
  using ProductNode::ProductNode;
  const char* name() const override { return "div"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(2);
    if (!grads[0].defined()) return result;
    const Tensor quotient = div(grads[0], b.get(*this));
    if (needs_input(0)) result[0] = sum_to_shape(quotient, a_shape);
    if (needs_input(1)) {
      const Tensor ratio = div(a.get(*this), b.get(*this));
      result[1] = sum_to_shape(neg(mul(quotient, ratio)), b_shape);
    }
    return result;
  }
};

/// 1 where the comparison holds, else 0, in x's type.
Tensor indicator(Comparison op, const Tensor& x) { return to(compare(op, x, 0.0), x.dtype()); }

struct PowNode : ProductNode {
  using ProductNode::ProductNode;
  const char* name() const override { return "pow"; }
  TensorList backward(const TensorList& grads) override {
    const Tensor& grad = grads[0];
    TensorList result(2);
    if (!grad.defined()) return result;
    const Tensor &base = a.get(*this), &exponent = b.get(*this);
    if (needs_input(0)) {
      // b a^(b-1); where b is 0, a^0 stands in for a^-1, so that 0 * inf is not met.
      const Tensor lower = add(sub(exponent, 1.0), indicator(Comparison::kEq, exponent));
      result[0] = sum_to_shape(mul(grad, mul(exponent, pow(base, lower))), a_shape);
    }
    if (needs_input(1)) {
      // a^b log a; where a is 0 and b >= 0 the limit is 0, which log 1 gives.
      const Tensor at_zero =
          mul(indicator(Comparison::kEq, base), indicator(Comparison::kGe, exponent));
      const Tensor slope = mul(pow(base, exponent), log(add(base, at_zero)));
      result[1] = sum_to_shape(mul(grad, slope), b_shape);
    }
    return result;
  }
};

template <class ProductNodeType>
Tensor product(const char* name, BinaryOp op, const Tensor& left, const Tensor& right,
               bool saves_both) {
  const Tensor a = autocast_to_match(left, right), b = autocast_to_match(right, left);
  const Tensor y = binary(name, op, a, b);
  if (needs_grad({a, b})) {
    auto node = std::make_shared<ProductNodeType>(a, b);
    if (saves_both || b.requires_grad()) node->a = SavedTensor(a);
    if (saves_both || a.requires_grad()) node->b = SavedTensor(b);
    record(node, {a, b}, {y});
  }
  return y;
}

Tensor sum_or_difference(const char* name, BinaryOp op, const Tensor& left, const Tensor& right) {
  const Tensor a = autocast_to_match(left, right), b = autocast_to_match(right, left);
  const Tensor y = binary(name, op, a, b);
  if (needs_grad({a, b})) {
    record(std::make_shared<AddNode>(a, b, op == BinaryOp::kAdd ? 1 : -1), {a, b}, {y});
  }
  return y;
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return sum_or_difference("add", BinaryOp::kAdd, a, b);
}
Tensor sub(const Tensor& a, const Tensor& b) {
  return sum_or_difference("sub", BinaryOp::kSub, a, b);
}
Tensor mul(const Tensor& a, const Tensor& b) {
  return product<MulNode>("mul", BinaryOp::kMul, a, b, false);
}
Tensor div(const Tensor& a, const Tensor& b) {
  return product<DivNode>("div", BinaryOp::kDiv, a, b, true);
}
Tensor pow(const Tensor& a, const Tensor& b) {
  return product<PowNode>("pow", BinaryOp::kPow, a, b, true);
}

Tensor add(const Tensor& a, double b) { return add(a, scalar_like("add", a, b)); }
Tensor sub(const Tensor& a, double b) { return sub(a, scalar_like("sub", a, b)); }
Tensor sub(double a, const Tensor& b) { return sub(scalar_like("sub", b, a), b); }
Tensor mul(const Tensor& a, double b) { return mul(a, scalar_like("mul", a, b)); }
Tensor div(const Tensor& a, double b) { return div(a, scalar_like("div", a, b)); }
Tensor div(double a, const Tensor& b) { return div(scalar_like("div", b, a), b); }
Tensor pow(double a, const Tensor& b) { return pow(scalar_like("pow", b, a), b); }
Tensor pow(const Tensor& a, double b) {
  const Tensor exponent = scalar_like("pow", a, b);
  return b == 2 && is_floating(a.dtype()) ? mul(a, a) : pow(a, exponent);
}

Tensor compare(Comparison op, const Tensor& a, const Tensor& b) {
  return binary("compare",
                static_cast<BinaryOp>(static_cast<int>(BinaryOp::kEq) + static_cast<int>(op)), a,
                b);
}
Tensor compare(Comparison op, const Tensor& a, double b) {
  return compare(op, a, scalar_like("compare", a, b));
}

}  // namespace striate
