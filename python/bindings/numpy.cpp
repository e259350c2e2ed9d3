// NumPy: tensor(), from_numpy(), numpy(), printing, copying and pickling.
#include <pybind11/numpy.h>

#include "bindings.h"

namespace striate::python {
namespace {

py::object numpy(const char* name) { return py::module_::import("numpy").attr(name); }

/// Striate's type for a NumPy array. Throws DTypeError for a type or byte order that it lacks.
DType dtype_of(const char* op, const py::array& array) {
  const py::dtype dtype = array.dtype();
  const std::string text = py::str(dtype).cast<std::string>();
  for (DType known : {DType::kFloat32, DType::kFloat64, DType::kInt64, DType::kInt32, DType::kUInt8,
                      DType::kBool}) {
    if (text == name(known)) return known;
  }
  fail<DTypeError>(op,
                   ": expected a native array of float32, float64, int64, int32, uint8 or bool,"
                   " got ",
                   text == "object" ? "object" : text);
}

void require_host(const char* op, const Tensor& x) {
  require<DeviceError>(x.device().type == DeviceType::kCPU, op, ": expected a tensor on cpu, got ",
                       x.device(), "; call cpu() first");
}

/// Whether a tensor may share the elements of `array`.
bool shareable(const py::array& array) {
  if (!array.writeable() || !array.attr("flags").attr("aligned").cast<bool>()) return false;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    if (array.shape(i) > 1 && (array.strides(i) <= 0 || array.strides(i) % array.itemsize() != 0)) {
      return false;
    }
  }
  return true;
}

/// A new CPU tensor with the elements of `array`, whatever its strides and alignment.
Tensor copy_array(const py::array& array, DType dtype) {
  require<DeviceError>(
      !capturing(Device{}),
      "tensor: expected no graph under capture on cpu, since a copy of host values "
      "is not replayed; make the tensor before");
  const Tensor result = empty(Dims(array.shape(), array.shape() + array.ndim()), {.dtype = dtype});
  numpy("copyto")(numpy_view(result, py::none()), array, py::arg("casting") = "unsafe");
  return result;
}

/// An array that NumPy, given `dtype`, can be trusted to convert.
bool convertible(const py::array& array) {
  const py::dtype dtype = array.dtype();
  return std::string_view("iufb").find(dtype.kind()) != std::string_view::npos &&
         dtype.attr("isnative").cast<bool>();
}

Tensor make_tensor(const py::object& data, std::optional<DType> dtype, Device device,
                   bool requires_grad) {
  Tensor result;
  if (py::isinstance<Tensor>(data)) {
    NoGrad guard;
    const Tensor& source = data.cast<const Tensor&>();
    result = dtype.value_or(source.dtype()) == source.dtype() ? clone(source.detach())
                                                              : to(source.detach(), *dtype);
  } else {
    const bool typed = py::hasattr(data, "dtype") || py::hasattr(data, "__array__");
    const py::array array = numpy("asarray")(data);
    DType target;
    if (!typed && array.dtype().kind() == 'f') {
      target = dtype.value_or(DType::kFloat32);
    } else if (dtype && convertible(array)) {
      target = *dtype;
    } else {
      target = dtype.value_or(dtype_of("tensor", array));
    }
    // NumPy has no bfloat16.
    result = copy_array(array, target == DType::kBFloat16 ? DType::kFloat32 : target);
    result = to(result, target);
  }
  if (result.device() != device) result = to(result, device);
  if (requires_grad) result.set_requires_grad(true);
  return result;
}

Tensor from_numpy(const py::array& array) {
  const DType dtype = dtype_of("from_numpy", array);
  if (!shareable(array)) return copy_array(array, dtype);
  Dims shape, strides = Dims::filled(static_cast<int>(array.ndim()), 0);
  for (py::ssize_t i = 0; i < array.ndim(); ++i) shape.push_back(array.shape(i));
  int64_t dense = 1;  // for dimensions whose stride is never used
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = shape[i] > 1 ? array.strides(i) / array.itemsize() : dense;
    dense = strides[i] * std::max<int64_t>(shape[i], 1);
  }
  PyObject* object = array.inc_ref().ptr();
  std::shared_ptr<void> owner(object, [](void* owned) {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    Py_DECREF(static_cast<PyObject*>(owned));
  });
  return from_memory(const_cast<void*>(array.data()), shape, strides, dtype, Device{}, owner);
}

py::array to_numpy(const Tensor& x) {
  require<AutogradError>(!x.requires_grad(),
                         "numpy: expected a tensor that does not require grad,"
                         " got requires_grad=True; call detach() first");
  require_host("numpy", x);
  require<DTypeError>(x.dtype() != DType::kBFloat16, "numpy: expected a type that NumPy has, got ",
                      x.dtype(), "; call float() first");
  auto loan = std::make_unique<std::shared_ptr<void>>(x.lend());
  const py::capsule owner(loan.get(),
                          [](void* held) { delete static_cast<std::shared_ptr<void>*>(held); });
  loan.release();
  return numpy_view(x, owner);
}

py::array to_array(const Tensor& x, const py::object& dtype, const py::object& copy) {
  py::array array = to_numpy(x);
  const bool must_copy = copy.is(py::bool_(true));
  if (!dtype.is_none() && !numpy("dtype")(dtype).equal(array.attr("dtype"))) {
    if (copy.is(py::bool_(false))) {
      throw py::value_error("__array__: expected a dtype that needs no copy, as copy=False");
    }
    return array.attr("astype")(dtype);
  }
  return must_copy ? py::array(array.attr("copy")()) : array;
}

/// The elements as NumPy can show them: on the host, off the tape, bfloat16 widened.
py::array readable(const Tensor& x) {
  Tensor host = to(x.detach(), Device{});
  if (host.dtype() == DType::kBFloat16) host = to(host, DType::kFloat32);
  return numpy_view(host, py::cast(host));
}

std::string repr(const Tensor& x) {
  const std::string prefix = "tensor(";
  std::string text = numpy("array2string")(readable(x), py::arg("separator") = ", ",
                                           py::arg("prefix") = prefix, py::arg("precision") = 4)
                         .cast<std::string>();
  const DType dtype = x.dtype();
  if (x.numel() == 0 && x.dim() != 1) {
    std::ostringstream shape;
    shape << ", size=" << x.shape();
    text += shape.str();
  }
  if (dtype != DType::kFloat32 && dtype != DType::kInt64 && dtype != DType::kBool) {
    text += std::string(", dtype=striate.") + name(dtype);
  }
  if (x.device().type != DeviceType::kCPU) text += ", device='" + x.device().str() + "'";
  if (const auto& node = x.grad_fn()) {
    text += std::string(", grad_fn=<") + node->name() + ">";
  } else if (x.requires_grad()) {
    text += ", requires_grad=True";
  }
  return prefix + text + ")";
}

using State = py::typing::Tuple<py::object, py::ellipsis>;

State get_state(const Tensor& x) {
  require<AutogradError>(x.is_leaf(), "pickle: expected a leaf tensor; call detach() first");
  const bool channels_last =
      x.dim() == 4 && !x.is_contiguous() && x.is_contiguous(MemoryFormat::kChannelsLast);
  return State(py::make_tuple(readable(x).attr("copy")(), x.dtype(), x.device(), x.requires_grad(),
                              channels_last));
}

Tensor set_state(const State& state) {
  const auto dtype = state[1].cast<DType>();
  Tensor result = make_tensor(state[0], dtype, Device{}, false);
  if (state[4].cast<bool>()) result = contiguous(result, MemoryFormat::kChannelsLast);
  result = to(result, state[2].cast<Device>());
  result.set_requires_grad(state[3].cast<bool>());
  return result;
}

Tensor deep_copy(const Tensor& x) {
  require<AutogradError>(x.is_leaf(), "deepcopy: expected a leaf tensor; call detach() first");
  const Tensor result = clone(x.detach());
  result.set_requires_grad(x.requires_grad());
  if (x.grad().defined()) result.set_grad(clone(x.grad()));
  return result;
}

}  // namespace

Tensor as_tensor(py::handle value) {
  if (py::isinstance<Tensor>(value)) return value.cast<Tensor>();
  return make_tensor(py::reinterpret_borrow<py::object>(value), {}, Device{}, false);
}

py::array numpy_view(const Tensor& x, py::handle owner) {
  const auto item = static_cast<py::ssize_t>(item_size(x.dtype()));
  std::vector<py::ssize_t> shape(x.shape().begin(), x.shape().end());
  std::vector<py::ssize_t> strides(x.strides().begin(), x.strides().end());
  for (py::ssize_t& stride : strides) stride *= item;
  return py::array(py::dtype(std::string(name(x.dtype()))), std::move(shape), std::move(strides),
                   x.data(), owner);
}

void bind_numpy(py::module_& m, TensorClass& cls) {
  m.def("tensor", &make_tensor, py::arg("data"), py::arg("dtype") = py::none(),
        py::arg("device") = "cpu", py::arg("requires_grad") = false,
        "A new tensor with the elements of a NumPy array, number, nested list or tensor.\n\n"
        "Arrays keep their type and may have any strides; Python floats become float32, integers "
        "int64. Raises DTypeError on an object or big-endian array.");
  m.def("from_numpy", &from_numpy, py::arg("array").noconvert(),
        "A tensor that shares the elements of an array; a copy where they cannot be shared "
        "(read-only, misaligned, or with negative strides).");
  cls.def("numpy", &to_numpy,
          "A NumPy array that shares the elements. Raises AutogradError if the tensor requires "
          "grad, DTypeError on bfloat16.")
      .def("__array__", &to_array, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def(
          "tolist", [](const Tensor& x) { return readable(x).attr("tolist")(); },
          "The elements as nested lists of Python numbers.")
      .def("__repr__", &repr)
      .def(
          "__deepcopy__",
          [](const Tensor& x, const py::typing::Dict<py::int_, py::object>&) {
            return deep_copy(x);
          },
          py::arg("memo"), "A leaf tensor on elements of its own, with a copy of its gradient.")
      .def(py::pickle(&get_state, &set_state));
  // NumPy's operators then leave `array + tensor` to Tensor.__radd__.
  cls.attr("__array_priority__") = 1000;
}

}  // namespace striate::python
