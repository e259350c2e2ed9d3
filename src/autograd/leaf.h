// The end of the tape: where the gradient of a leaf is collected.
#pragma once

#include <memory>

#include "striate/autograd.h"

namespace striate {

/// One per leaf; alive while some recorded operation uses the leaf.
struct Leaf final : Node {
  explicit Leaf(std::shared_ptr<TensorImpl> leaf) : tensor(std::move(leaf)) {}
  const char* name() const override { return "leaf"; }
  // The engine commits the gradients of all leaves together, after the last node has run.
  TensorList backward(const TensorList&) override { return {}; }
  void release() override {}

  const Tensor tensor;
};

/// Where the gradient of x goes. x requires grad.
Edge gradient_edge(const Tensor& x);

}  // namespace striate
