// Functions on tensors that are not layers.
#include "bindings.h"

namespace striate::python {

void bind_ops(py::module_& m) {
  const auto tensors = py::arg("tensors");
  m.def("cat", &cat, tensors, py::arg("dim") = 0, Unlocked(),
        "Joins tensors along an existing dimension; their other sizes agree.");
  m.def(
      "stack",
      [](const std::vector<Tensor>& parts, int dim) {
        std::vector<Tensor> rows;
        for (const Tensor& part : parts) rows.push_back(unsqueeze(part, dim));
        return cat(rows, dim);
      },
      tensors, py::arg("dim") = 0, Unlocked(), "Joins tensors of one shape along a new dimension.");
  m.def(
      "pad",
      [](const Tensor& input, const Dims& pad, const std::string& mode, double value) {
        require<ArgumentError>(mode == "constant", "pad: expected mode 'constant', got '", mode,
                               "'");
        return striate::pad(input, pad, value);
      },
      py::arg("input"), py::arg("pad"), py::arg("mode") = "constant", py::arg("value") = 0.0,
      Unlocked(),
      "Surrounds ``input`` with ``value``: ``pad`` holds (before, after) pairs from the last "
      "dimension backwards, e.g. (left, right, top, bottom).");
  m.def("matmul", &matmul, py::arg("input"), py::arg("other"), Unlocked(),
        "Matrix product, with the shapes of numpy.matmul.");
  m.def("abs", &abs, py::arg("input"), Unlocked(), "Absolute value of each element.");
  m.def("exp", &exp, py::arg("input"), Unlocked(), "e to the power of each element.");
  m.def("log", &log, py::arg("input"), Unlocked(), "Natural logarithm of each element.");
  m.def("sqrt", &sqrt, py::arg("input"), Unlocked(), "Square root of each element.");
  m.def("relu", &relu, py::arg("input"), Unlocked(),
        "max(x, 0) of each element. NaN stays NaN; the derivative at 0 is 0.");
  m.def("sigmoid", &sigmoid, py::arg("input"), Unlocked(), "1 / (1 + exp(-x)) of each element.");
  m.def("tanh", &tanh, py::arg("input"), Unlocked(), "Hyperbolic tangent of each element.");
  m.def("argmax", &argmax, py::arg("input"), py::arg("dim") = py::none(),
        py::arg("keepdim") = false, Unlocked(),
        "Index of the largest element, of the flattened tensor or along ``dim``.");
}

}  // namespace striate::python
