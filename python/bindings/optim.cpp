// Optimizer steps over whole parameter groups. The gradients are the parameters' own.
#include "bindings.h"

namespace striate::python {
namespace {

using Parameters = std::vector<Tensor>;

/// Python's list of buffers, in which None stands for one that is not there yet.
Parameters read_buffers(const py::list& list) {
  Parameters buffers;
  buffers.reserve(list.size());
  for (const py::handle item : list) {
    buffers.push_back(item.is_none() ? Tensor() : item.cast<Tensor>());
  }
  return buffers;
}

/// Puts buffers that a step created into Python's list.
void write_buffers(const Parameters& buffers, py::list& list) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (py::handle(list[i]).is_none() && buffers[i].defined()) list[i] = buffers[i];
  }
}

Parameters gradients(const Parameters& params) {
  Parameters grads;
  grads.reserve(params.size());
  for (const Tensor& param : params) grads.push_back(param.grad());
  return grads;
}

}  // namespace

void bind_optim(py::module_& m) {
  m.def(
      "sgd_step",
      [](const Parameters& params, py::typing::List<std::optional<Tensor>> momentum_buffers,
         double lr, double momentum, double dampening, double weight_decay, bool nesterov,
         const std::optional<Tensor>& scalars) {
        Parameters buffers = read_buffers(momentum_buffers);
        unlocked([&] {
          sgd_step(params, gradients(params), buffers,
                   {lr, momentum, dampening, weight_decay, nesterov}, scalars.value_or(Tensor()));
        });
        write_buffers(buffers, momentum_buffers);
      },
      py::arg("params"), py::arg("momentum_buffers"), py::arg("lr"), py::arg("momentum") = 0.0,
      py::arg("dampening") = 0.0, py::arg("weight_decay") = 0.0, py::arg("nesterov") = false,
      py::arg("scalars") = py::none(),
      "One step of SGD on all parameters that have a gradient, as in PyTorch.\n\n"
      "``momentum_buffers`` has an entry per parameter (None before its first step; empty without "
      "momentum) and receives the buffers made. Raises ArgumentError on a value outside its "
      "domain, before any change.\n\n"
      "While a graph is captured, ``scalars`` is where each replay finds sgd_scalars().");
  m.def(
      "adam_step",
      [](const Parameters& params, py::typing::List<std::optional<Tensor>> exp_avg,
         py::typing::List<std::optional<Tensor>> exp_avg_sq, int64_t step, double lr, double beta1,
         double beta2, double eps, double weight_decay, bool decoupled,
         const std::optional<Tensor>& scalars) {
        Parameters means = read_buffers(exp_avg);
        Parameters squares = read_buffers(exp_avg_sq);
        unlocked([&] {
          adam_step(params, gradients(params), means, squares, step,
                    {lr, beta1, beta2, eps, weight_decay, decoupled}, scalars.value_or(Tensor()));
        });
        write_buffers(means, exp_avg);
        write_buffers(squares, exp_avg_sq);
      },
      py::arg("params"), py::arg("exp_avg"), py::arg("exp_avg_sq"), py::arg("step"), py::arg("lr"),
      py::arg("beta1") = 0.9, py::arg("beta2") = 0.999, py::arg("eps") = 1e-8,
      py::arg("weight_decay") = 0.0, py::arg("decoupled") = false, py::arg("scalars") = py::none(),
      "One step of Adam (Kingma and Ba 2015), or with ``decoupled`` of AdamW (Loshchilov and "
      "Hutter 2019). ``step`` counts from 1; the lists are as in sgd_step(), "
      "``scalars`` is adam_scalars().");
  m.attr("SGD_SCALARS") = kSgdScalars;
  m.attr("ADAM_SCALARS") = kAdamScalars;
  m.def(
      "sgd_scalars",
      [](double lr, double momentum, double dampening, double weight_decay) {
        return sgd_scalars({lr, momentum, dampening, weight_decay, false});
      },
      py::arg("lr"), py::arg("momentum"), py::arg("dampening"), py::arg("weight_decay"),
      "What a captured sgd_step() reads at each replay, float64.");
  m.def(
      "adam_scalars",
      [](int64_t step, double lr, double beta1, double beta2, double eps, double weight_decay) {
        return adam_scalars({lr, beta1, beta2, eps, weight_decay, false}, step);
      },
      py::arg("step"), py::arg("lr"), py::arg("beta1"), py::arg("beta2"), py::arg("eps"),
      py::arg("weight_decay"), "What a captured adam_step() reads at each replay, float64.");
}

}  // namespace striate::python
