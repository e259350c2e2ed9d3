#include <cmath>
#include <limits>

#include "launch.h"
#include "optim/step.h"
#include "striate/optim.h"

namespace striate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const char* op_name(const AdamOptions& options) { return options.decoupled ? "adamw" : "adam"; }

void check_options(const AdamOptions& options) {
  const char* op = op_name(options);
  check_option(op, "lr", options.lr, 0, kInfinity);
  check_option(op, "beta1", options.beta1, 0, 1);
  check_option(op, "beta2", options.beta2, 0, 1);
  check_option(op, "eps", options.eps, 0, kInfinity);
  check_option(op, "weight_decay", options.weight_decay, 0, kInfinity);
}

}  // namespace

void adam_step(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
               std::vector<Tensor>& exp_avg, std::vector<Tensor>& exp_avg_sq, int64_t step,
               const AdamOptions& options, const Tensor& scalars) {
  check_options(options);
  const char* op = op_name(options);
  require<ArgumentError>(step >= 1, op, ": expected step >= 1, got ", step);
  Step work(op, params, grads);
  StepBuffers mean(op, "exp_avg", exp_avg, params.size());
  StepBuffers square(op, "exp_avg_sq", exp_avg_sq, params.size());
  for (StepGroup& group : work.groups) {
    for (size_t i = 0; i < group.tensors.size(); ++i) {
      const size_t index = group.indices[i];
      group.tensors[i].m = mean.data(index, params[index]);
      group.tensors[i].v = square.data(index, params[index]);
      group.tensors[i].first = mean.is_new(index);
    }
    find_kernel(op, backend(group.device), &KernelTable::adam);
  }
  const double steps = static_cast<double>(step);
  for (const StepGroup& group : work.groups) {
    launch<AdamArgs>(
        "adam", group.device, &KernelTable::adam,
        {group.dtype, group.tensors.data(), static_cast<int64_t>(group.tensors.size()), options,
         1 - std::pow(options.beta1, steps), 1 - std::pow(options.beta2, steps),
         scalars_of(op, scalars, kAdamScalars, group.device)});
  }
  work.finish();
  exp_avg = mean.take();
  exp_avg_sq = square.take();
}

std::vector<double> adam_scalars(const AdamOptions& o, int64_t step) {
  check_options(o);
  const double steps = static_cast<double>(step);
  return {o.lr,
          o.beta1,
          o.beta2,
          o.eps,
          o.weight_decay,
          1 - std::pow(o.beta1, steps),
          1 - std::pow(o.beta2, steps)};
}

Adam::Adam(std::vector<Tensor> params, AdamOptions options)
    : options(options), params_(std::move(params)) {
  check_options(options);
  check_params(op_name(options), params_);
}

void Adam::step() {
  const Tensor scalars =
      replayed_scalars(params_, kAdamScalars, [this] { return adam_scalars(options, ++step_); });
  adam_step(params_, grads_of(params_), exp_avg_, exp_avg_sq_, step_ + 1, options, scalars);
  if (!scalars.defined()) ++step_;
}

void Adam::zero_grad() {
  for (const Tensor& param : params_) param.set_grad({});
}

}  // namespace striate
