// Tensor: in-place edits. They are off the tape, and refuse to touch what the tape is tracking.
#include "bindings.h"

namespace striate::python {
namespace {

/// The other operand of `op`: a tensor that the tape does not track.
const Tensor& operand(const char* op, py::handle other) {
  const Tensor& tensor = other.cast<const Tensor&>();
  require<AutogradError>(!grad_enabled() || !tensor.requires_grad(), op,
                         ": expected an operand that does not require grad, as in-place edits are "
                         "off the tape; use detach() or no_grad()");
  return tensor;
}

/// x += alpha * other.
void accumulate(const char* op, const Tensor& x, py::handle other, double alpha) {
  double number;
  if (!py::isinstance<Tensor>(other) && as_number(other, number)) {
    unlocked([&] {
      const Tensor detached = x.detach();
      copy_(x, add(detached, alpha * number));
    });
    return;
  }
  const Tensor& tensor = operand(op, other);
  unlocked([&] {
    const Tensor detached = tensor.detach();
    add_(x, x.shape() == detached.shape() ? detached : expand(detached, x.shape()), alpha);
  });
}

}  // namespace

void bind_tensor_edits(TensorClass& cls) {
  cls.def(
         "add_",
         [](const py::object& self, const py::object& other, double alpha) -> TensorObject {
           accumulate("add_", self.cast<const Tensor&>(), other, alpha);
           return self;
         },
         py::arg("other"), py::arg("alpha") = 1.0, "Adds ``alpha`` times a tensor or number.")
      .def(
          "sub_",
          [](const py::object& self, const py::object& other, double alpha) -> TensorObject {
            accumulate("sub_", self.cast<const Tensor&>(), other, -alpha);
            return self;
          },
          py::arg("other"), py::arg("alpha") = 1.0, "Subtracts ``alpha`` times a tensor or number.")
      .def(
          "mul_",
          [](const py::object& self, const py::object& other) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            double number;
            if (!py::isinstance<Tensor>(other) && as_number(other, number)) {
              unlocked([&] { mul_(x, number); });
            } else {
              const Tensor& factor = operand("mul_", other);
              unlocked([&] { copy_(x, mul(x.detach(), factor.detach())); });
            }
            return self;
          },
          py::arg("other"), "Multiplies by a tensor or number.")
      .def(
          "zero_",
          [](const py::object& self) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            unlocked([&] { fill_(x, 0); });
            return self;
          },
          "Sets every element to 0.")
      .def(
          "fill_",
          [](const py::object& self, double value) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            unlocked([&] { fill_(x, value); });
            return self;
          },
          py::arg("value"), "Sets every element to ``value``.")
      .def(
          "copy_",
          [](const py::object& self, const py::object& source) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            const Tensor tensor = as_tensor(source);
            unlocked([&] { copy_(x, tensor.detach()); });
            return self;
          },
          py::arg("source"), "Copies a tensor or array into this one, broadcast and converted.")
      .def(
          "uniform_",
          [](const py::object& self, double low, double high) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            unlocked([&] { uniform_(x, low, high); });
            return self;
          },
          py::arg("low") = 0.0, py::arg("high") = 1.0,
          "Draws every element from the uniform distribution on [low, high).")
      .def(
          "normal_",
          [](const py::object& self, double mean, double std) -> TensorObject {
            const Tensor& x = self.cast<const Tensor&>();
            unlocked([&] { normal_(x, mean, std); });
            return self;
          },
          py::arg("mean") = 0.0, py::arg("std") = 1.0,
          "Draws every element from a normal distribution.");
}

}  // namespace striate::python
