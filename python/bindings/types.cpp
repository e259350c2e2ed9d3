// DType and Device.
#include "bindings.h"

namespace striate::python {
namespace {

constexpr DType kDTypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64,
                             DType::kInt32,   DType::kUInt8,   DType::kBool};
PyObject* dtype_objects[std::size(kDTypes)];

}  // namespace

py::handle dtype_object(DType dtype) { return dtype_objects[static_cast<size_t>(dtype)]; }

bool as_dtype(py::handle source, DType& dtype) {
  if (!PyType_Check(source.ptr()) && !py::hasattr(source, "itemsize")) return false;
  py::object numpy_dtype;
  try {
    numpy_dtype = py::module_::import("numpy").attr("dtype")(source);
  } catch (const py::error_already_set&) {
    return false;
  }
  dtype = parse_dtype(numpy_dtype.attr("name").cast<std::string>());
  return true;
}

Dims sizes(const char* op, const py::args& args) {
  Dims dims;
  const bool nested = args.size() == 1 && !PyIndex_Check(py::handle(args[0]).ptr());
  const py::object source = nested ? py::object(args[0]) : py::object(args);
  if (!as_dims(source, dims)) {
    throw py::type_error(std::string(op) + ": expected sizes as integers or a tuple of them, got " +
                         py::repr(source).cast<std::string>());
  }
  return dims;
}

void bind_types(py::module_& m) {
  py::class_<DType> dtype(m, "DType", "The type of a tensor's elements.");
  for (DType value : kDTypes) {
    // Built through the base caster: the specialised one returns these very objects.
    dtype_objects[static_cast<size_t>(value)] =
        py::detail::type_caster_base<DType>::cast(value, py::return_value_policy::copy, {}).ptr();
    m.attr(name(value)) = dtype_object(value);
  }
  dtype.def_property_readonly(
           "name", [](DType d) { return name(d); }, "``'float32'``, ...")
      .def_property_readonly("itemsize", &item_size, "Bytes of one element.")
      .def_property_readonly("is_floating_point", &is_floating,
                             "True for float32, float64 and bfloat16.")
      .def("__repr__", [](DType d) { return std::string("striate.") + name(d); })
      .def("__reduce__", [](DType d) { return std::string(name(d)); });

  py::class_<Device>(m, "Device", "A device: ``Device('cpu')``, ``Device('cuda:1')``.")
      .def(py::init([](const std::string& text) { return Device::parse(text); }), py::arg("name"),
           "Raises DeviceError on a name that is not a device's.")
      .def_property_readonly(
          "type", [](Device d) { return d.type == DeviceType::kCPU ? "cpu" : "cuda"; },
          "``'cpu'`` or ``'cuda'``.")
      .def_readonly("index", &Device::index, "Number of the device among those of its type.")
      .def("__str__", &Device::str)
      .def("__repr__", [](Device d) { return "Device('" + d.str() + "')"; })
      .def("__eq__",
           [](Device a, const py::object& b) {
             if (py::isinstance<py::str>(b)) return a.str() == b.cast<std::string>();
             return py::isinstance<Device>(b) && a == b.cast<Device>();
           })
      .def("__hash__", [](Device d) { return py::hash(py::str(d.str())); })
      .def("__reduce__", [](Device d) {
        return py::make_tuple(py::type::of<Device>(), py::make_tuple(d.str()));
      });
}

}  // namespace striate::python
