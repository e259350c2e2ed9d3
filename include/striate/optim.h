// Optimizers: each step updates all parameters in one kernel call.
#pragma once

#include <vector>

#include "striate/options.h"
#include "striate/tensor.h"

namespace striate {

/// PyTorch's SGD: g += wd*p; buf = momentum*buf + (1-dampening)*g (buf = g at the first step);
/// p -= lr * (nesterov ? g + momentum*buf : buf). `buffers` is empty when momentum is 0; an
/// undefined entry is created. Parameters with an undefined gradient are skipped.
/// Throws ArgumentError on values outside their domain, before any change.
///
/// While a graph is captured, `scalars`, float64 on the parameters' device, is where each replay
/// finds the options: sgd_scalars() of that time.
void sgd_step(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
              std::vector<Tensor>& buffers, const SGDOptions& options, const Tensor& scalars = {});
std::vector<double> sgd_scalars(const SGDOptions& options);

/// Adam (Kingma and Ba 2015) with bias correction; `step` counts from 1.
void adam_step(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               std::vector<Tensor>& exp_avg, std::vector<Tensor>& exp_avg_sq, int64_t step,
               const AdamOptions& options, const Tensor& scalars = {});
std::vector<double> adam_scalars(const AdamOptions& options, int64_t step);

/// Holds the parameters and momentum buffers for C++ training loops.
class SGD {
 public:
  SGD(std::vector<Tensor> params, SGDOptions options);
  void step();
  void zero_grad();
  SGDOptions options;

 private:
  std::vector<Tensor> params_, buffers_;
};

/// As SGD, for Adam and AdamW.
class Adam {
 public:
  Adam(std::vector<Tensor> params, AdamOptions options);
  void step();
  void zero_grad();
  AdamOptions options;

 private:
  std::vector<Tensor> params_, exp_avg_, exp_avg_sq_;
  int64_t step_ = 0;
};

}  // namespace striate
