#include "ops/common.h"

namespace striate {
namespace {

struct DropoutNode : Node {
  Dims strides;
  double p = 0;
  RandomStretch random;

  const char* name() const override { return "dropout"; }
  TensorList backward(const TensorList& grads) override;
  void release() override {}
};

/// Element i, in memory order, meets value i of the stream.
Tensor masked(const Tensor& x, double p, const RandomStretch& random) {
  const Tensor y = empty_strided(x.shape(), x.strides(), options_of(x));
  if (x.numel() > 0) {
    launch<DropoutArgs>(
        "dropout", x.device(), &KernelTable::dropout,
        {x.dtype(), x.data(), y.data(), x.numel(), p, random.seed, random.offset, random.base});
  }
  return y;
}

TensorList DropoutNode::backward(const TensorList& grads) {
  if (!grads[0].defined()) return {Tensor()};
  return {masked(with_strides(grads[0], strides), p, random)};
}

}  // namespace

Tensor dropout(const Tensor& x, double p, bool training) {
  check_floating("dropout", "x", x);
  require<ArgumentError>(p >= 0 && p <= 1, "dropout: expected p in [0, 1], got ", p);
  if (p == 0 || !training) return x;
  if (p == 1) return mul(x, 0.0);
  const Tensor source = dense(x);
  find_kernel("dropout", backend(x.device()), &KernelTable::dropout);
  const RandomStretch random = reserve_random(x.device(), x.numel());
  const Tensor y = masked(source, p, random);
  if (needs_grad({x})) {
    auto node = std::make_shared<DropoutNode>();
    node->strides = source.strides();
    node->p = p;
    node->random = random;
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace striate
