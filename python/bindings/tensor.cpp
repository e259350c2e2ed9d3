// Tensor: attributes, the tape, conversions.
#include "bindings.h"

namespace striate::python {
namespace {

DType named_dtype(const std::string& text) {
  try {
    return parse_dtype(text);
  } catch (const DTypeError& error) {
    fail<DTypeError>(error.what(), "; or a device: cpu, cuda or cuda:<index>");
  }
}

/// Reads the arguments of Tensor.to: a dtype, a device or a tensor to imitate, in any order.
Tensor convert(const Tensor& x, const py::Args<Target>& args, std::optional<DType> dtype,
               std::optional<Device> device) {
  for (const py::handle arg : args) {
    if (py::isinstance<Tensor>(arg)) {
      const Tensor& like = arg.cast<const Tensor&>();
      dtype = like.dtype();
      device = like.device();
    } else if (py::isinstance<Device>(arg)) {
      device = arg.cast<Device>();
    } else if (py::isinstance<py::str>(arg)) {
      const std::string text = arg.cast<std::string>();
      if (text.starts_with("cpu") || text.starts_with("cuda")) {
        device = Device::parse(text);
      } else {
        dtype = named_dtype(text);
      }
    } else {
      dtype = arg.cast<DType>();
    }
  }
  return unlocked([&] {
    Tensor result = x;
    if (device && *device != result.device()) result = to(result, *device);
    if (dtype && *dtype != result.dtype()) result = to(result, *dtype);
    return result;
  });
}

py::object item(const Tensor& x) {
  const double value = unlocked([&] { return x.item(); });
  if (is_floating(x.dtype())) return py::float_(value);
  if (x.dtype() == DType::kBool) return py::bool_(value != 0);
  // A double holds integers up to 2^53 only.
  const bool exact = x.dtype() != DType::kInt64 || x.device().type != DeviceType::kCPU;
  return py::int_(exact ? static_cast<int64_t>(value) : *x.data<int64_t>());
}

void bind_attributes(TensorClass& cls) {
  cls.def(py::init<const Tensor&>(), py::arg("other"))
      .def_property_readonly("shape", &Tensor::shape, "The sizes, as a tuple.")
      .def_property_readonly("ndim", &Tensor::dim, "Number of dimensions.")
      .def("dim", &Tensor::dim, "Number of dimensions.")
      .def("numel", &Tensor::numel, "Number of elements.")
      .def(
          "size",
          [](const Tensor& x, std::optional<int> dim) -> std::variant<int64_t, Dims> {
            if (dim) return x.size(*dim);
            return x.shape();
          },
          py::arg("dim") = py::none(), "The shape, or the size of one dimension.")
      .def("stride", &Tensor::strides, "Steps between neighbours, in elements.")
      .def(
          "element_size", [](const Tensor& x) { return item_size(x.dtype()); },
          "Bytes of one element.")
      .def_property_readonly("dtype", &Tensor::dtype, "The element type.")
      .def_property_readonly("device", &Tensor::device, "Where the elements are.")
      .def(
          "is_contiguous",
          [](const Tensor& x, bool channels_last) {
            return x.is_contiguous(channels_last ? MemoryFormat::kChannelsLast
                                                 : MemoryFormat::kContiguous);
          },
          py::arg("channels_last") = false,
          "True if the elements are dense in row-major (or N, H, W, C) order.")
      .def(
          "data_ptr", [](const Tensor& x) { return reinterpret_cast<uintptr_t>(x.data()); },
          "Address of the first element.")
      .def_property_readonly("_version", &Tensor::version,
                             "Number of in-place edits of the storage so far.");
}

void bind_tape(TensorClass& cls) {
  cls.def_property(
         "requires_grad", &Tensor::requires_grad,
         [](const Tensor& x, bool value) { x.set_requires_grad(value); },
         "Whether backward() computes a gradient for this tensor. Set on leaves only.")
      .def(
          "requires_grad_",
          [](const py::object& self, bool value) -> TensorObject {
            self.cast<const Tensor&>().set_requires_grad(value);
            return self;
          },
          py::arg("requires_grad") = true,
          "Sets requires_grad and returns the tensor. Raises AutogradError on a non-leaf, "
          "DTypeError unless floating point.")
      .def_property_readonly("is_leaf", &Tensor::is_leaf,
                             "True unless an operation on the tape made this tensor.")
      .def_property(
          "grad",
          [](const Tensor& x) {
            Tensor grad = x.grad();
            return grad.defined() ? std::optional(std::move(grad)) : std::nullopt;
          },
          [](const Tensor& x, MaybeTensor grad) { x.set_grad(grad); },
          "The gradient that backward() accumulated, or None.")
      .def_property(
          "data", &Tensor::detach,
          [](Tensor& x, const Tensor& data) {
            const bool requires_grad = x.requires_grad();
            x = data.detach();
            if (requires_grad) x.set_requires_grad(true);
          },
          "The elements, off the tape. Assigning replaces the elements, type and device under "
          "this object, and forgets its gradient.")
      .def("detach", &Tensor::detach, Unlocked(), "The same elements, off the tape.")
      .def(
          "backward",
          [](const Tensor& x, MaybeTensor grad, bool retain_graph) {
            x.backward(grad, retain_graph);
          },
          py::arg("grad") = py::none(), py::arg("retain_graph") = false, Unlocked(),
          "Adds the derivative of this tensor to the ``grad`` of every leaf it came from.\n\n"
          "``grad`` has this tensor's shape and weighs its elements; it may be left out for a "
          "single element. What the operations saved is freed unless ``retain_graph``. Raises "
          "AutogradError on a second pass or when a saved tensor was edited in place; gradients "
          "are then unchanged.");
}

void bind_conversions(TensorClass& cls) {
  cls.def("to", &convert, py::arg("dtype") = py::none(), py::arg("device") = py::none(),
          "This tensor with another element type or device: ``x.to('cuda')``, "
          "``x.to(striate.float64)``, ``x.to(other)``. Returns itself where nothing changes.")
      .def(
          "float", [](const Tensor& x) { return to(x, DType::kFloat32); }, Unlocked(),
          "As float32.")
      .def(
          "double", [](const Tensor& x) { return to(x, DType::kFloat64); }, Unlocked(),
          "As float64.")
      .def(
          "long", [](const Tensor& x) { return to(x, DType::kInt64); }, Unlocked(), "As int64.")
      .def(
          "cpu", [](const Tensor& x) { return to(x, Device{}); }, Unlocked(),
          "In the host's memory.")
      .def(
          "cuda",
          [](const Tensor& x, int index) { return to(x, Device{DeviceType::kCUDA, index}); },
          py::arg("index") = 0, Unlocked(),
          "On a CUDA device. Raises DeviceError, with the reason, where there is none.")
      .def("item", &item, "The single element as a Python number. Raises ShapeError otherwise.")
      .def("__bool__", [](const Tensor& x) { return unlocked([&] { return x.item() != 0; }); })
      .def("__float__", [](const Tensor& x) { return unlocked([&] { return x.item(); }); })
      .def("__int__", [](const Tensor& x) { return py::int_(item(x)); })
      .def("__index__",
           [](const Tensor& x) {
             require<DTypeError>(!is_floating(x.dtype()), "index: expected an integer tensor, got ",
                                 x.dtype());
             return py::int_(item(x));
           })
      .def("__format__",
           [](const py::object& self, const py::str& spec) {
             const Tensor& x = self.cast<const Tensor&>();
             if (x.numel() != 1 || py::len(spec) == 0) return py::str(self);
             return py::str(item(x).attr("__format__")(spec));
           })
      .def("__hash__", [](const py::object& self) {
        return reinterpret_cast<intptr_t>(self.ptr()) / static_cast<intptr_t>(alignof(PyObject));
      });
}

}  // namespace

void bind_tensor(TensorClass& cls) {
  bind_attributes(cls);
  bind_tape(cls);
  bind_conversions(cls);
}

}  // namespace striate::python
