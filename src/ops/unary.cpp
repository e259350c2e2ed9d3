// Element-wise functions. A dense input is walked as one block, whatever its memory order.
#include "ops/common.h"

namespace striate {
namespace {

constexpr const char* kNames[] = {"neg", "exp", "log", "sqrt", "abs", "relu", "sigmoid", "tanh"};

struct NegNode : Node {
  const char* name() const override { return "neg"; }
  TensorList backward(const TensorList& grads) override {
    return {grads[0].defined() ? neg(grads[0]) : Tensor()};
  }
  void release() override {}
};

/// Saves the output, or the input where the derivative is a function of that.
struct UnaryNode : Node {
  explicit UnaryNode(UnaryOp op) : op(op) {}
  UnaryOp op;
  SavedTensor saved;

  const char* name() const override { return kNames[static_cast<int>(op)]; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor& x = saved.get(*this);
    const Tensor grad_y = with_strides(grads[0], x.strides());
    const Tensor grad_x = empty_like(x);
    if (x.numel() > 0) {
      launch<UnaryBackwardArgs>(name(), x.device(), &KernelTable::unary_backward,
                                {op, x.dtype(), grad_y.data(), x.data(), grad_x.data(), x.numel()});
    }
    return {grad_x};
  }
  void release() override { saved.reset(); }
};

Tensor unary(UnaryOp op, const Tensor& x) {
  const char* name = kNames[static_cast<int>(op)];
  check_floating(name, "x", x);
  const Tensor source = dense(x);
  const Tensor y = empty_like(source);
  if (y.numel() > 0) {
    launch<UnaryArgs>(name, x.device(), &KernelTable::unary,
                      {op, x.dtype(), source.data(), y.data(), x.numel()});
  }
  if (!needs_grad({x})) return y;
  if (op == UnaryOp::kNeg) {
    record(std::make_shared<NegNode>(), {x}, {y});
  } else {
    auto node = std::make_shared<UnaryNode>(op);
    node->saved = SavedTensor(op == UnaryOp::kLog || op == UnaryOp::kAbs ? source : y);
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace

Tensor neg(const Tensor& x) {
  check_defined("neg", "x", x);
  const bool is_signed = x.dtype() == DType::kInt64 || x.dtype() == DType::kInt32;
  return is_signed ? sub(0.0, x) : unary(UnaryOp::kNeg, x);
}
Tensor exp(const Tensor& x) { return unary(UnaryOp::kExp, x); }
Tensor log(const Tensor& x) { return unary(UnaryOp::kLog, x); }
Tensor sqrt(const Tensor& x) { return unary(UnaryOp::kSqrt, x); }
Tensor abs(const Tensor& x) { return unary(UnaryOp::kAbs, x); }
Tensor relu(const Tensor& x) { return unary(UnaryOp::kRelu, x); }
Tensor sigmoid(const Tensor& x) { return unary(UnaryOp::kSigmoid, x); }
Tensor tanh(const Tensor& x) { return unary(UnaryOp::kTanh, x); }

}  // namespace striate
