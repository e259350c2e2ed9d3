#include "optim/step.h"

#include <algorithm>

#include "ops/common.h"
#include "striate/graph.h"

namespace striate {

void check_option(const char* op, const char* option, double value, double low, double high) {
  require<ArgumentError>(value >= low && value < high, op, ": expected ", option, " in [", low,
                         ", ", high, "), got ", value);
}

StepBuffers::StepBuffers(const char* op, const char* name, const std::vector<Tensor>& given,
                         size_t count)
    : op_(op), name_(name), given_(given) {
  require<ArgumentError>(given.empty() || given.size() == count, op, ": expected ", count, " ",
                         name, " buffers, one a parameter, got ", given.size());
  given_.resize(count);
  current_ = given_;
}

void* StepBuffers::data(size_t i, const Tensor& param) {
  Tensor& buffer = current_[i];
  if (buffer.defined()) {
    check_shape(op_, name_, buffer, param.shape());
    check_same(op_, "the parameter", param, name_, buffer);
    buffer = with_strides(buffer, param.strides());
  } else {
    require<ArgumentError>(!capturing(param.device()), op_, ": expected ", name_,
                           " buffers before a graph is captured; take one step without it");
    buffer = zeros_like(param);
  }
  return buffer.data();
}

std::vector<Tensor> StepBuffers::take() {
  for (size_t i = 0; i < given_.size(); ++i) {
    if (is_new(i)) {
      given_[i] = current_[i];
    } else if (current_[i].impl_ptr() != given_[i].impl_ptr()) {
      copy_into(current_[i], given_[i]);
    }
  }
  return std::move(given_);
}

Step::Step(const char* op, const std::vector<Tensor>& params, const std::vector<Tensor>& grads)
    : params(params) {
  require<ArgumentError>(grads.size() == params.size(), op, ": expected ", params.size(),
                         " gradients, one a parameter, got ", grads.size());
  check_params(op, params);
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor &param = params[i], &grad = grads[i];
    if (!grad.defined()) continue;
    check_real(op, "parameters", param);
    check_shape(op, "the gradient", grad, param.shape());
    check_same(op, "the parameter", param, "the gradient", grad);
    require<ShapeError>(param.is_dense(), op, ": expected parameters without gaps, got shape ",
                        param.shape(), " with strides ", param.strides());
    if (param.numel() == 0) continue;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const StepGroup& g) {
      return g.device == param.device() && g.dtype == param.dtype();
    });
    if (group == groups.end()) {
      group = groups.insert(group, StepGroup{param.device(), param.dtype(), {}, {}});
    }
    const Tensor& ordered = grads_.emplace_back(with_strides(grad, param.strides()));
    group->indices.push_back(i);
    group->tensors.push_back(
        {param.data(), ordered.data(), nullptr, nullptr, param.numel(), false});
  }
}

void Step::finish() const {
  for (const StepGroup& group : groups) {
    for (size_t i : group.indices) bump_version(params[i]);
  }
}

const double* scalars_of(const char* op, const Tensor& scalars, int64_t count, Device device) {
  if (!capturing(device)) return nullptr;
  require<ArgumentError>(
      scalars.defined() && scalars.device() == device && scalars.dtype() == DType::kFloat64 &&
          scalars.is_contiguous() && scalars.numel() == count,
      op, ": expected ", count, " float64 scalars on ", device, " while a graph is captured there");
  return scalars.data<const double>();
}

Tensor replayed_scalars(const std::vector<Tensor>& params, int64_t count,
                        std::function<std::vector<double>()> values) {
  if (params.empty() || !capturing(params[0].device())) return {};
  return replayed_values(params[0].device(), count, std::move(values));
}

std::vector<Tensor> grads_of(const std::vector<Tensor>& params) {
  std::vector<Tensor> grads;
  grads.reserve(params.size());
  for (const Tensor& param : params) grads.push_back(param.grad());
  return grads;
}

void check_params(const char* op, const std::vector<Tensor>& params) {
  for (const Tensor& param : params) {
    check_defined(op, "a parameter", param);
    require<AutogradError>(param.is_leaf(), op,
                           ": expected parameters to be leaves, got the result of ",
                           param.is_leaf() ? "" : param.grad_fn()->name());
  }
}

}  // namespace striate
