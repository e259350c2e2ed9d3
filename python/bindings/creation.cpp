// Functions that make tensors.
#include <cmath>

#include "bindings.h"

namespace striate::python {
namespace {

using Sizes = py::Args<SizeArgument>;

template <class Make>
void bind_sized(py::module_& m, const char* name, const char* doc, Make make) {
  m.def(
      name,
      [name, make](const Sizes& size, DType dtype, Device device, bool requires_grad) {
        const Dims shape = sizes(name, size);
        return unlocked([&] { return make(shape, TensorOptions{dtype, device, requires_grad}); });
      },
      py::arg("dtype") = DType::kFloat32, py::arg("device") = "cpu",
      py::arg("requires_grad") = false, doc);
}

/// NumPy's arange: int64 if all three numbers are integers, else float32.
Tensor make_arange(const py::object& start, const py::object& end, const py::object& step,
                   std::optional<DType> dtype, Device device) {
  double numbers[3];
  const py::object given[] = {end.is_none() ? py::int_(0) : start, end.is_none() ? start : end,
                              step};
  bool integers = true;
  for (int i = 0; i < 3; ++i) {
    if (!as_number(given[i], numbers[i])) throw py::type_error("arange: expected numbers");
    integers = integers && PyIndex_Check(given[i].ptr());
  }
  const DType type = dtype.value_or(integers ? DType::kInt64 : DType::kFloat32);
  return unlocked([&] {
    return arange(numbers[0], numbers[1], numbers[2], TensorOptions{type, device, false});
  });
}

}  // namespace

void bind_creation(py::module_& m) {
  bind_sized(m, "zeros", "A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.",
             [](const Dims& shape, const TensorOptions& options) { return zeros(shape, options); });
  bind_sized(m, "ones", "A tensor of ones.",
             [](const Dims& shape, const TensorOptions& options) { return ones(shape, options); });
  bind_sized(m, "empty", "A tensor whose elements are not initialised.",
             [](const Dims& shape, const TensorOptions& options) { return empty(shape, options); });
  bind_sized(m, "rand", "Uniform in [0, 1), from the default generator.",
             [](const Dims& shape, const TensorOptions& options) { return rand(shape, options); });
  bind_sized(m, "randn", "Standard normal, from the default generator.",
             [](const Dims& shape, const TensorOptions& options) { return randn(shape, options); });
  m.def(
      "full",
      [](const Dims& size, double fill_value, DType dtype, Device device, bool requires_grad) {
        return full(size, fill_value, {dtype, device, requires_grad});
      },
      py::arg("size"), py::arg("fill_value"), py::arg("dtype") = DType::kFloat32,
      py::arg("device") = "cpu", py::arg("requires_grad") = false, Unlocked(),
      "A tensor whose elements all equal ``fill_value``.");
  m.def("arange", &make_arange, py::arg("start"), py::arg("end") = py::none(), py::arg("step") = 1,
        py::arg("dtype") = py::none(), py::arg("device") = "cpu",
        "start, start + step, ... below ``end``; ``arange(n)`` counts from 0. int64 for integers, "
        "float32 otherwise.");
  m.def("zeros_like", &zeros_like, py::arg("input"), Unlocked(),
        "Zeros with the shape, type, device and memory order of ``input``.");
  m.def(
      "ones_like",
      [](const Tensor& input) {
        const Tensor result = empty_like(input);
        fill_(result, 1);
        return result;
      },
      py::arg("input"), Unlocked(), "Ones with the shape, type, device and order of ``input``.");
  m.def(
      "empty_like", [](const Tensor& input) { return empty_like(input); }, py::arg("input"),
      Unlocked(), "Not initialised, with the shape, type, device and order of ``input``.");
}

}  // namespace striate::python
