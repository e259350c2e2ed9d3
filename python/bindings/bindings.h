// The parts of striate._core, one function per file; module.cpp calls them in this order.
#pragma once

#include <pybind11/numpy.h>

#include "casters.h"

namespace striate::python {

using TensorClass = py::class_<Tensor>;

void bind_errors(py::module_& m);
void bind_types(py::module_& m);
void bind_runtime(py::module_& m);
void bind_autograd(py::module_& m);
void bind_tensor(TensorClass& cls);
void bind_tensor_operators(TensorClass& cls);
void bind_tensor_methods(TensorClass& cls);
void bind_tensor_edits(TensorClass& cls);
void bind_indexing(TensorClass& cls);
void bind_numpy(py::module_& m, TensorClass& cls);
void bind_dlpack(py::module_& m, TensorClass& cls);
void bind_creation(py::module_& m);
void bind_ops(py::module_& m);
void bind_nn_ops(py::module_& m);
void bind_losses(py::module_& m);
void bind_optim(py::module_& m);
void bind_graph(py::module_& m);
void bind_io(py::module_& m);
void bind_image(py::module_& m);

/// A tensor, or anything numpy.array() takes, as a tensor: a copy unless it is one already.
Tensor as_tensor(py::handle value);
/// A number as a double; false if `value` is not one.
bool as_number(py::handle value, double& number);
/// A NumPy array over the elements of a CPU tensor, which `owner` keeps alive.
py::array numpy_view(const Tensor& x, py::handle owner);

}  // namespace striate::python
