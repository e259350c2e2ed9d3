#include "ops/common.h"

namespace striate {

Tensor mse_loss(const Tensor& x, const Tensor& target, Reduction reduction) {
  check_floating("mse_loss", "input", x);
  check_shape("mse_loss", "target", target, x.shape());
  check_same("mse_loss", "input", x, "target", target);
  const Tensor difference = sub(x, target);
  const Tensor squares = mul(difference, difference);
  if (reduction == Reduction::kNone) return squares;
  return reduction == Reduction::kSum ? sum(squares) : mean(squares);
}

}  // namespace striate
