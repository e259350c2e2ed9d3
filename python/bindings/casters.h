// How Python arguments become the core's value types. Included by every binding file, so that all
// translation units agree on the conversions.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "striate/striate.h"

namespace striate::python {

namespace py = pybind11;

/// Reads a Python or NumPy integer; false if `source` is neither.
inline bool as_int64(py::handle source, int64_t& value) {
  py::object index;
  if (!PyLong_Check(source.ptr())) {
    if (PyFloat_Check(source.ptr()) || !PyIndex_Check(source.ptr())) return false;
    index = py::reinterpret_steal<py::object>(PyNumber_Index(source.ptr()));
    if (!index) {
      PyErr_Clear();
      return false;
    }
    source = index;
  }
  int overflow = 0;
  value = PyLong_AsLongLongAndOverflow(source.ptr(), &overflow);
  if (overflow != 0)  // only then is it worth a string
    fail<ShapeError>("size ", py::str(source).cast<std::string>(), " does not fit in 64 bits");
  return true;
}

/// Reads a tuple or list of integers; false if `source` is something else.
inline bool as_dims(py::handle source, Dims& dims) {
  if (!PyTuple_Check(source.ptr()) && !PyList_Check(source.ptr())) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(source.ptr());
  PyObject** items = PySequence_Fast_ITEMS(source.ptr());
  for (Py_ssize_t i = 0; i < count; ++i) {
    int64_t value;
    if (!as_int64(items[i], value)) return false;
    dims.push_back(value);
  }
  return true;
}

/// The DType objects are singletons, so that `x.dtype is striate.float32` holds.
py::handle dtype_object(DType dtype);
/// Reads "float32", a NumPy dtype or scalar type; false if `source` is none of these. Throws
/// DTypeError on one that Striate lacks.
bool as_dtype(py::handle source, DType& dtype);

// Types that only differ from others in the name that signatures, and so the stubs, give them.
/// A size argument of `zeros(2, 3)` or `zeros((2, 3))`.
struct SizeArgument {};
/// An argument of Tensor.to.
struct Target {};
/// A Python object known to be a tensor (or NotImplemented, which Python takes care of).
class TensorObject : public py::object {
 public:
  TensorObject(py::object object) : py::object(std::move(object)) {}  // NOLINT: implicit by design
};

/// The sizes in `f(2, 3)` or `f((2, 3))`.
Dims sizes(const char* op, const py::args& args);

/// Runs `function` without the GIL.
template <class Function>
auto unlocked(Function&& function) {
  py::gil_scoped_release release;
  return function();
}
using Unlocked = py::call_guard<py::gil_scoped_release>;

/// An optional tensor, without a copy of its handle: None is the undefined tensor.
class MaybeTensor {
 public:
  MaybeTensor() = default;
  explicit MaybeTensor(const Tensor& tensor) : tensor_(&tensor) {}
  operator const Tensor&() const {  // NOLINT: implicit by design
    static const Tensor none;
    return tensor_ ? *tensor_ : none;
  }

 private:
  const Tensor* tensor_ = nullptr;
};

}  // namespace striate::python

namespace pybind11::detail {

template <>
struct type_caster<striate::Dims> {
  PYBIND11_TYPE_CASTER(striate::Dims,
                       io_name("int | collections.abc.Sequence[int]", "tuple[int, ...]"));

  bool load(handle source, bool) {
    int64_t single;
    if (striate::python::as_dims(source, value)) return true;
    if (!striate::python::as_int64(source, single)) return false;
    value = {single};
    return true;
  }
  static handle cast(const striate::Dims& dims, return_value_policy, handle) {
    PyObject* result = PyTuple_New(dims.size());
    for (int i = 0; i < dims.size(); ++i) {
      PyTuple_SET_ITEM(result, i, PyLong_FromLongLong(dims[i]));
    }
    return result;
  }
};

template <>
struct type_caster<striate::Size2> {
  static constexpr auto name = const_name("int | collections.abc.Sequence[int]");
  template <typename T>
  using cast_op_type = movable_cast_op_type<T>;
  operator striate::Size2*() { return &value; }
  operator striate::Size2&() { return value; }
  operator striate::Size2&&() && { return std::move(value); }

  bool load(handle source, bool) {
    int64_t both;
    if (striate::python::as_int64(source, both)) {
      value = both;
      return true;
    }
    striate::Dims pair;
    if (!striate::python::as_dims(source, pair) || pair.size() < 1 || pair.size() > 2) return false;
    value = {pair[0], pair.back()};
    return true;
  }

 private:
  striate::Size2 value{0};
};

template <>
struct type_caster<striate::python::SizeArgument> {
  static constexpr auto name = const_name("int | collections.abc.Sequence[int]");
};
template <>
struct type_caster<striate::python::Target> {
  static constexpr auto name = const_name("Tensor | DType | Device | str");
};
template <>
struct handle_type_name<striate::python::TensorObject> {
  static constexpr auto name = make_caster<striate::Tensor>::name;
};

template <>
struct type_caster<striate::python::MaybeTensor> {
  PYBIND11_TYPE_CASTER(striate::python::MaybeTensor,
                       make_caster<striate::Tensor>::name + const_name(" | None"));

  bool load(handle source, bool convert) {
    if (source.is_none()) return true;
    make_caster<striate::Tensor> tensor;
    if (!tensor.load(source, convert)) return false;
    value = striate::python::MaybeTensor(cast_op<const striate::Tensor&>(tensor));
    return true;
  }
};

template <>
struct type_caster<striate::DType> : type_caster_base<striate::DType> {
  static constexpr auto name = io_name("DType | str", "DType");

  bool load(handle source, bool convert) {
    if (PyUnicode_Check(source.ptr())) {
      parsed_ = striate::parse_dtype(source.cast<std::string>());
    } else if (type_caster_base::load(source, convert)) {
      return value != nullptr;
    } else if (!striate::python::as_dtype(source, parsed_)) {
      return false;
    }
    value = &parsed_;
    return true;
  }
  static handle cast(striate::DType dtype, return_value_policy, handle) {
    return striate::python::dtype_object(dtype).inc_ref();
  }

 private:
  striate::DType parsed_;
};

template <>
struct type_caster<striate::Device> : type_caster_base<striate::Device> {
  static constexpr auto name = io_name("Device | str", "Device");

  bool load(handle source, bool convert) {
    if (!PyUnicode_Check(source.ptr())) {
      return type_caster_base::load(source, convert) && value != nullptr;
    }
    parsed_ = striate::Device::parse(source.cast<std::string>());
    value = &parsed_;
    return true;
  }

 private:
  striate::Device parsed_;
};

}  // namespace pybind11::detail
