#include "ops/autocast.h"
#include "ops/common.h"

namespace striate {
namespace {

struct SoftmaxNode : Node {
  SoftmaxNode(bool log, const Split& split) : log(log), split(split) {}
  bool log;
  Split split;
  SavedTensor y;

  const char* name() const override { return log ? "log_softmax" : "softmax"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor& saved = y.get(*this);
    const Tensor grad_y = row_major(grads[0]);
    const Tensor grad_x = empty(saved.shape(), options_of(saved));
    if (grad_x.numel() > 0) {
      launch<SoftmaxBackwardArgs>(name(), saved.device(), &KernelTable::softmax_backward,
                                  {saved.dtype(), log, grad_y.data(), saved.data(), grad_x.data(),
                                   split.outer, split.n, split.inner});
    }
    return {grad_x};
  }
  void release() override { y.reset(); }
};

Tensor normalized(const char* op, const Tensor& input, int dim, bool log) {
  const Tensor x = autocast_up(input);
  check_floating(op, "x", x);
  const Split split = split_at(x.shape(), wrap_dim(op, dim, x.dim()));
  const Tensor source = row_major(x);
  const Tensor y = empty(x.shape(), options_of(x));
  if (y.numel() > 0) {
    launch<SoftmaxArgs>(
        op, x.device(), &KernelTable::softmax,
        {x.dtype(), log, source.data(), y.data(), split.outer, split.n, split.inner});
  }
  if (needs_grad({x})) {
    auto node = std::make_shared<SoftmaxNode>(log, split);
    node->y = SavedTensor(y);
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace

Tensor softmax(const Tensor& x, int dim) { return normalized("softmax", x, dim, false); }
Tensor log_softmax(const Tensor& x, int dim) { return normalized("log_softmax", x, dim, true); }

}  // namespace striate
