// What a step of any optimizer does around its kernel.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/tensor_impl.h"
#include "kernels.h"

namespace striate {

/// Throws ArgumentError, naming the option, unless low <= value < high.
void check_option(const char* op, const char* option, double value, double low, double high);

/// One kind of state, such as momentum, of all parameters.
class StepBuffers {
 public:
  /// `given` is empty, or has one tensor a parameter, undefined before its first step.
  StepBuffers(const char* op, const char* name, const std::vector<Tensor>& given, size_t count);
  /// The buffer of parameter i, in its memory order. A new one is zero.
  void* data(size_t i, const Tensor& param);
  bool is_new(size_t i) const { return !given_[i].defined(); }
  /// What the optimizer keeps once the step has been taken: the tensors it gave, and new ones.
  std::vector<Tensor> take();

 private:
  const char* op_;
  const char* name_;
  std::vector<Tensor> given_, current_;
};

/// The parameters of one device and type that have a gradient: one launch.
struct StepGroup {
  Device device;
  DType dtype;
  std::vector<size_t> indices;           // among all parameters
  std::vector<OptimizerTensor> tensors;  // m and v are the optimizer's to set
};

/// The checked work of one step. Nothing has changed before launch() is called for its groups.
struct Step {
  Step(const char* op, const std::vector<Tensor>& params, const std::vector<Tensor>& grads);
  /// Marks the parameters as edited.
  void finish() const;

  const std::vector<Tensor>& params;
  std::vector<StepGroup> groups;

 private:
  std::vector<Tensor> grads_;  // in the memory order of their parameters
};

/// The address of the options' numbers, `count` of them, that a graph reads at each replay; null
/// outside a capture. Throws ArgumentError unless `scalars` is what a capture needs.
const double* scalars_of(const char* op, const Tensor& scalars, int64_t count, Device device);
/// Scalars for the step of a C++ optimizer that is being captured on the parameters' device, set to
/// `values()` before each replay; undefined outside a capture.
Tensor replayed_scalars(const std::vector<Tensor>& params, int64_t count,
                        std::function<std::vector<double>()> values);

/// The gradients that the parameters hold.
std::vector<Tensor> grads_of(const std::vector<Tensor>& params);
/// Throws ArgumentError on an undefined parameter, AutogradError unless all are leaves.
void check_params(const char* op, const std::vector<Tensor>& params);

}  // namespace striate
