// Negative log-likelihood, alone and fused with the log-softmax before it.
#include "ops/common.h"

namespace striate {
namespace {

struct NllLossNode : Node {
  const char* op = nullptr;
  Dims shape;  // of the input
  LossOptions options;
  bool logits = false;
  SavedTensor log_prob, target, count;

  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor grad_loss = row_major(grads[0]);
    const Tensor grad_x = empty(shape, options_of(grad_loss));
    const Split split = split_at(shape, 1);
    if (grad_x.numel() > 0) {
      const Tensor& saved = log_prob.get(*this);
      launch<NllLossBackwardArgs>(
          op, grad_loss.device(), &KernelTable::nll_loss_backward,
          {grad_loss.dtype(), grad_loss.data(), saved.defined() ? saved.data() : nullptr,
           target.get(*this).data<int64_t>(), count.get(*this).data(), grad_x.data(), split.outer,
           split.n, split.inner, options.ignore_index, options.label_smoothing, options.reduction,
           logits});
    }
    return {grad_x};
  }
  void release() override {
    for (SavedTensor* saved : {&log_prob, &target, &count}) saved->reset();
  }
};

void check_arguments(const char* op, const Tensor& x, const Tensor& target,
                     const LossOptions& options) {
  check_floating(op, "input", x);
  check_defined(op, "target", target);
  require<ShapeError>(x.dim() >= 2 && x.shape()[1] > 0, op,
                      ": expected input (N, C, ...) with classes, got ", x.shape());
  require<DTypeError>(target.dtype() == DType::kInt64, op,
                      ": expected a target of class indices, int64, got ", target.dtype());
  Dims expected = {x.shape()[0]};
  for (int d = 2; d < x.dim(); ++d) expected.push_back(x.shape()[d]);
  require<ShapeError>(target.shape() == expected, op, ": expected a target of shape ", expected,
                      " for input ", x.shape(), ", got ", target.shape());
  require<DeviceError>(target.device() == x.device(), op, ": expected the target on ", x.device(),
                       ", the device of the input, got ", target.device());
  require<ArgumentError>(options.label_smoothing >= 0 && options.label_smoothing <= 1, op,
                         ": expected label_smoothing in [0, 1], got ", options.label_smoothing);
  check_index_range(op, "labels", target, 0, x.shape()[1], options.ignore_index);
}

/// The loss of `log_prob`, row-major, recorded as a function of `x`.
Tensor loss_of(const char* op, const Tensor& x, const Tensor& log_prob, const Tensor& target,
               const LossOptions& options, bool logits) {
  const Tensor labels = row_major(target);
  const bool each = options.reduction == Reduction::kNone;
  const Tensor loss = empty(each ? target.shape() : Dims(), options_of(x));
  const Tensor count = empty({}, options_of(x));
  const Split split = split_at(x.shape(), 1);
  launch<NllLossArgs>(
      op, x.device(), &KernelTable::nll_loss,
      {x.dtype(), log_prob.data(), labels.data<int64_t>(), loss.data(), count.data(), split.outer,
       split.n, split.inner, options.ignore_index, options.label_smoothing, options.reduction});
  if (needs_grad({x})) {
    auto node = std::make_shared<NllLossNode>();
    node->op = op;
    node->shape = x.shape();
    node->options = options;
    node->logits = logits;
    if (logits) node->log_prob = SavedTensor(log_prob);
    node->target = SavedTensor(labels);
    node->count = SavedTensor(count);
    record(node, {x}, {loss});
  }
  return loss;
}

}  // namespace

Tensor nll_loss(const Tensor& log_prob, const Tensor& target, const LossOptions& options) {
  check_arguments("nll_loss", log_prob, target, options);
  require<ArgumentError>(options.label_smoothing == 0,
                         "nll_loss: expected label_smoothing 0 (cross_entropy takes it), got ",
                         options.label_smoothing);
  const Tensor x = to(log_prob, precise(log_prob.dtype()));
  return loss_of("nll_loss", x, row_major(x), target, options, false);
}

Tensor cross_entropy(const Tensor& logits, const Tensor& target, const LossOptions& options) {
  check_arguments("cross_entropy", logits, target, options);
  const Tensor x = to(logits, precise(logits.dtype()));
  Tensor log_prob;
  {
    NoGrad guard;
    log_prob = log_softmax(x, 1);
  }
  return loss_of("cross_entropy", x, log_prob, target, options, true);
}

}  // namespace striate
