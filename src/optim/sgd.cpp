#include <limits>

#include "launch.h"
#include "optim/step.h"
#include "striate/optim.h"

namespace striate {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_options(const SGDOptions& options) {
  check_option("sgd", "lr", options.lr, 0, kInfinity);
  check_option("sgd", "momentum", options.momentum, 0, kInfinity);
  check_option("sgd", "dampening", options.dampening, -kInfinity, kInfinity);
  check_option("sgd", "weight_decay", options.weight_decay, 0, kInfinity);
  require<ArgumentError>(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
                         "sgd: expected momentum > 0 and dampening 0 with nesterov, got ",
                         options.momentum, " and ", options.dampening);
}

}  // namespace

void sgd_step(const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
              std::vector<Tensor>& buffers, const SGDOptions& options, const Tensor& scalars) {
  check_options(options);
  Step step("sgd", params, grads);
  StepBuffers momentum("sgd", "momentum", buffers, params.size());
  if (options.momentum != 0) {
    for (StepGroup& group : step.groups) {
      for (size_t i = 0; i < group.tensors.size(); ++i) {
        const size_t index = group.indices[i];
        group.tensors[i].m = momentum.data(index, params[index]);
        group.tensors[i].first = momentum.is_new(index);
      }
    }
  }
  for (const StepGroup& group : step.groups) {
    find_kernel("sgd", backend(group.device), &KernelTable::sgd);
  }
  for (const StepGroup& group : step.groups) {
    launch<SgdArgs>("sgd", group.device, &KernelTable::sgd,
                    {group.dtype, group.tensors.data(), static_cast<int64_t>(group.tensors.size()),
                     options, scalars_of("sgd", scalars, kSgdScalars, group.device)});
  }
  step.finish();
  if (options.momentum != 0) buffers = momentum.take();
}

std::vector<double> sgd_scalars(const SGDOptions& o) {
  check_options(o);
  return {o.lr, o.momentum, o.dampening, o.weight_decay};
}

SGD::SGD(std::vector<Tensor> params, SGDOptions options)
    : options(options), params_(std::move(params)) {
  check_options(options);
  check_params("sgd", params_);
}

void SGD::step() {
  const Tensor scalars =
      replayed_scalars(params_, kSgdScalars, [this] { return sgd_scalars(options); });
  sgd_step(params_, grads_of(params_), buffers_, options, scalars);
}

void SGD::zero_grad() {
  for (const Tensor& param : params_) param.set_grad({});
}

}  // namespace striate
