// Tensor: views, element-wise functions and reductions. None of them changes its operand.
#include "bindings.h"

namespace striate::python {
namespace {

using Sizes = py::Args<SizeArgument>;

void bind_views(TensorClass& cls) {
  const auto reshape_to = [](const Tensor& x, const Sizes& shape) {
    const Dims dims = sizes("reshape", shape);
    return unlocked([&] { return reshape(x, dims); });
  };
  cls.def("reshape", reshape_to,
          "The same elements in row-major order under another shape; one size may be -1. A view "
          "where the strides allow, else a copy. Raises ShapeError when the counts differ.")
      .def("view", reshape_to, "Alias of reshape().")
      .def("flatten", &flatten, py::arg("start_dim") = 0, py::arg("end_dim") = -1, Unlocked(),
           "Merges the dimensions from ``start_dim`` to ``end_dim``.")
      .def(
          "permute",
          [](const Tensor& x, const Sizes& order) {
            const Dims dims = sizes("permute", order);
            return unlocked([&] { return permute(x, dims); });
          },
          "A view with the dimensions in another order.")
      .def("transpose", &transpose, py::arg("dim0"), py::arg("dim1"), Unlocked(),
           "A view with two dimensions swapped.")
      .def_property_readonly(
          "T",
          [](const Tensor& x) {
            Dims order;
            for (int i = x.dim() - 1; i >= 0; --i) order.push_back(i);
            return permute(x, order);
          },
          "A view with all dimensions reversed.")
      .def_property_readonly(
          "mT", [](const Tensor& x) { return transpose(x, -2, -1); },
          "A view with the last two dimensions swapped.")
      .def("unsqueeze", &unsqueeze, py::arg("dim"), Unlocked(),
           "A view with a dimension of size 1 before ``dim``.")
      .def(
          "squeeze",
          [](const Tensor& x, std::optional<int> dim) {
            if (dim) return squeeze(x, *dim);
            Tensor result = x;
            for (int d = x.dim() - 1; d >= 0; --d) {
              if (x.shape()[d] == 1) result = squeeze(result, d);
            }
            return result;
          },
          py::arg("dim") = py::none(), Unlocked(),
          "A view without dimension ``dim``, if its size is 1, or without all of size 1.")
      .def(
          "expand",
          [](const Tensor& x, const Sizes& shape) {
            const Dims dims = sizes("expand", shape);
            return unlocked([&] { return expand(x, dims); });
          },
          "A view that repeats dimensions of size 1, without a copy; -1 keeps a size.")
      .def("index_select", &index_select, py::arg("dim"), py::arg("index"), Unlocked(),
           "The rows ``index`` (int64, 1-D) of dimension ``dim``. Raises IndexError.")
      .def(
          "contiguous",
          [](const Tensor& x, bool channels_last) {
            return contiguous(
                x, channels_last ? MemoryFormat::kChannelsLast : MemoryFormat::kContiguous);
          },
          py::arg("channels_last") = false, Unlocked(),
          "Dense in row-major (or N, H, W, C) order; itself where it is already.")
      .def("clone", &clone, Unlocked(), "A copy, on the tape.");
}

void bind_functions(TensorClass& cls) {
  cls.def("abs", &abs, Unlocked(), "Absolute value of each element.")
      .def("exp", &exp, Unlocked(), "e to the power of each element.")
      .def("log", &log, Unlocked(), "Natural logarithm of each element.")
      .def("sqrt", &sqrt, Unlocked(), "Square root of each element.")
      .def("relu", &relu, Unlocked(), "max(x, 0); NaN stays NaN, the derivative at 0 is 0.")
      .def("sigmoid", &sigmoid, Unlocked(), "1 / (1 + exp(-x)).")
      .def("tanh", &tanh, Unlocked(), "Hyperbolic tangent of each element.")
      .def("softmax", &softmax, py::arg("dim"), Unlocked(), "exp(x) over its sum along ``dim``.")
      .def("log_softmax", &log_softmax, py::arg("dim"), Unlocked(),
           "Logarithm of softmax, computed stably.")
      .def("matmul", &matmul, py::arg("other"), Unlocked(),
           "Matrix product, with the shapes of numpy.matmul.");
}

void bind_reductions(TensorClass& cls) {
  cls.def(
         "sum",
         [](const Tensor& x, std::optional<Dims> dim, bool keepdim) {
           return sum(x, dim.value_or(Dims{}), keepdim);
         },
         py::arg("dim") = py::none(), py::arg("keepdim") = false, Unlocked(),
         "Sum over one dimension, several, or all. Integers and bools sum to int64.")
      .def(
          "mean",
          [](const Tensor& x, std::optional<Dims> dim, bool keepdim) {
            return mean(x, dim.value_or(Dims{}), keepdim);
          },
          py::arg("dim") = py::none(), py::arg("keepdim") = false, Unlocked(),
          "Mean over one dimension, several, or all. Floating point only.")
      .def(
          "max",
          [](const Tensor& x, std::optional<int> dim,
             bool keepdim) -> std::variant<Tensor, std::pair<Tensor, Tensor>> {
            if (!dim) return max(x);
            return max(x, *dim, keepdim);
          },
          py::arg("dim") = py::none(), py::arg("keepdim") = false, Unlocked(),
          "The largest element, or (values, int64 indices) along ``dim``. Ties go to the first "
          "index; NaN counts as the largest.")
      .def("argmax", &argmax, py::arg("dim") = py::none(), py::arg("keepdim") = false, Unlocked(),
           "Index of the largest element, of the flattened tensor or along ``dim``. Ties and NaN "
           "go to the first index.");
}

}  // namespace

void bind_tensor_methods(TensorClass& cls) {
  bind_views(cls);
  bind_functions(cls);
  bind_reductions(cls);
}

}  // namespace striate::python
