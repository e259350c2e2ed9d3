#include "ops/autocast.h"
#include "ops/common.h"

namespace striate {

Tensor mse_loss(const Tensor& input, const Tensor& wanted, Reduction reduction) {
  const Tensor x = autocast_up(input), target = autocast_up(wanted);
  check_floating("mse_loss", "input", x);
  check_shape("mse_loss", "target", target, x.shape());
  check_same("mse_loss", "input", x, "target", target);
  if (x.dtype() == DType::kBFloat16)
    return mse_loss(to(x, DType::kFloat32), to(target, DType::kFloat32), reduction);
  const Tensor difference = sub(x, target);
  const Tensor squares = mul(difference, difference);
  if (reduction == Reduction::kNone) return squares;
  return reduction == Reduction::kSum ? sum(squares) : mean(squares);
}

}  // namespace striate
