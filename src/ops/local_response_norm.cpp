#include <cmath>

#include "ops/common.h"

namespace striate {
namespace {

constexpr const char* kOp = "local_response_norm";

/// x with its channels innermost: any (N, C, ...) becomes (N, ..., C).
Tensor channels_innermost(const Tensor& x) {
  NoGrad guard;
  if (x.dim() == 4) return channels_last(x);
  Dims order = {0};
  for (int d = 2; d < x.dim(); ++d) order.push_back(d);
  order.push_back(1);
  Dims inverse = {0, x.dim() - 1};
  for (int d = 1; d < x.dim() - 1; ++d) inverse.push_back(d);
  return permute(row_major(permute(x, order)), inverse);
}

struct LocalResponseNormNode : Node {
  int64_t size = 0;
  double alpha = 0, beta = 0;
  SavedTensor x, scale;

  const char* name() const override { return kOp; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    const Tensor& saved = x.get(*this);
    const Tensor grad_y = with_strides(grads[0], saved.strides());
    const Tensor grad_x = empty_strided(saved.shape(), saved.strides(), options_of(saved));
    const int64_t c = saved.shape()[1];
    if (saved.numel() > 0) {
      launch<LocalResponseNormBackwardArgs>(
          kOp, saved.device(), &KernelTable::local_response_norm_backward,
          {saved.dtype(), saved.numel() / c, c, size, alpha, beta, grad_y.data(), saved.data(),
           scale.get(*this).data(), grad_x.data()});
    }
    return {grad_x};
  }
  void release() override {
    x.reset();
    scale.reset();
  }
};

}  // namespace

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k) {
  check_floating(kOp, "input", x);
  require<ShapeError>(x.dim() >= 3 && x.shape()[1] > 0, kOp,
                      ": expected input (N, C, ...) of three dimensions or more, got ", x.shape());
  require<ArgumentError>(size >= 1, kOp, ": expected size >= 1, got ", size);
  require<ArgumentError>(std::isfinite(alpha) && std::isfinite(beta) && std::isfinite(k), kOp,
                         ": expected finite alpha, beta and k, got ", alpha, ", ", beta, " and ",
                         k);
  const Tensor source = channels_innermost(x);
  const int64_t c = x.shape()[1], rows = x.numel() / c;
  const Tensor y = empty_strided(x.shape(), source.strides(), options_of(x));
  const Tensor scale = empty({rows, c}, {precise(x.dtype()), x.device()});
  if (rows > 0) {
    launch<LocalResponseNormArgs>(
        kOp, x.device(), &KernelTable::local_response_norm,
        {x.dtype(), rows, c, size, alpha, beta, k, source.data(), y.data(), scale.data()});
  }
  if (needs_grad({x})) {
    auto node = std::make_shared<LocalResponseNormNode>();
    node->size = size;
    node->alpha = alpha;
    node->beta = beta;
    node->x = SavedTensor(source);
    node->scale = SavedTensor(scale);
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace striate
