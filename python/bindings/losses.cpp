// Loss functions.
#include "bindings.h"

namespace striate::python {
namespace {

Reduction parse_reduction(const char* op, const std::string& text) {
  if (text == "mean") return Reduction::kMean;
  if (text == "sum") return Reduction::kSum;
  require<ArgumentError>(text == "none", op, ": expected reduction 'none', 'mean' or 'sum', got '",
                         text, "'");
  return Reduction::kNone;
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def(
      "nll_loss",
      [](const Tensor& input, const Tensor& target, int64_t ignore_index,
         const std::string& reduction) {
        return nll_loss(input, target, {parse_reduction("nll_loss", reduction), ignore_index});
      },
      py::arg("input"), py::arg("target"), py::kw_only(), py::arg("ignore_index") = -100,
      py::arg("reduction") = "mean", Unlocked(),
      "Negative log-probability of the targets: log-probabilities (N, C, ...), int64 targets "
      "(N, ...).\n\n"
      "``reduction`` is 'mean' (over targets other than ``ignore_index``), 'sum' or 'none'. Raises "
      "IndexError on a target outside [0, C), before any read.");
  m.def(
      "cross_entropy",
      [](const Tensor& input, const Tensor& target, int64_t ignore_index,
         const std::string& reduction, double label_smoothing) {
        return cross_entropy(
            input, target,
            {parse_reduction("cross_entropy", reduction), ignore_index, label_smoothing});
      },
      py::arg("input"), py::arg("target"), py::kw_only(), py::arg("ignore_index") = -100,
      py::arg("reduction") = "mean", py::arg("label_smoothing") = 0.0, Unlocked(),
      "nll_loss of log_softmax over dimension 1 of the logits (N, C, ...), fused.\n\n"
      "``label_smoothing`` in [0, 1] moves that share of the target's weight to the mean over all "
      "classes. (Szegedy et al. 2016, section 7.)");
  m.def(
      "mse_loss",
      [](const Tensor& input, const Tensor& target, const std::string& reduction) {
        return mse_loss(input, target, parse_reduction("mse_loss", reduction));
      },
      py::arg("input"), py::arg("target"), py::kw_only(), py::arg("reduction") = "mean", Unlocked(),
      "Squared difference of two tensors of one shape.");
}

}  // namespace striate::python
