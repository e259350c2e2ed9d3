// The exceptions of error.h as Python classes, each with the matching built-in as a second base.
#include <new>
#include <system_error>

#include "bindings.h"

namespace striate::python {
namespace {

struct ErrorTypes {
  PyObject *error, *argument, *shape, *dtype, *device, *format, *out_of_memory, *index, *autograd;
};
// Types live as long as the process: the translator may run until its very end.
ErrorTypes types;

PyObject* define(py::module_& m, const char* name, std::initializer_list<PyObject*> bases,
                 const char* doc) {
  py::tuple base_tuple(bases.size());
  size_t i = 0;
  for (PyObject* base : bases) base_tuple[i++] = py::handle(base);
  const std::string full_name = std::string("striate.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(full_name.c_str(), doc, base_tuple.ptr(), nullptr);
  if (!type) throw py::error_already_set();
  m.attr(name) = py::handle(type);
  return type;
}

void translate(std::exception_ptr exception) {
  try {
    if (exception) std::rethrow_exception(exception);
  } catch (const ShapeError& e) {
    PyErr_SetString(types.shape, e.what());
  } catch (const ArgumentError& e) {
    PyErr_SetString(types.argument, e.what());
  } catch (const DTypeError& e) {
    PyErr_SetString(types.dtype, e.what());
  } catch (const DeviceError& e) {
    PyErr_SetString(types.device, e.what());
  } catch (const FormatError& e) {
    PyErr_SetString(types.format, e.what());
  } catch (const OutOfMemoryError& e) {
    PyErr_SetString(types.out_of_memory, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(types.index, e.what());
  } catch (const AutogradError& e) {
    PyErr_SetString(types.autograd, e.what());
  } catch (const Error& e) {
    PyErr_SetString(types.error, e.what());
  } catch (const std::system_error& e) {
    // OSError(errno, text) becomes FileNotFoundError, PermissionError, ... by itself.
    py::tuple arguments = py::make_tuple(e.code().value(), e.what());
    PyErr_SetObject(PyExc_OSError, arguments.ptr());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(types.out_of_memory, "host: out of memory");
  }
}

}  // namespace

void bind_errors(py::module_& m) {
  types.error = define(m, "Error", {PyExc_Exception},
                       "Base of every exception that Striate raises on purpose.");
  types.argument = define(m, "ArgumentError", {types.error, PyExc_ValueError},
                          "A parameter outside its domain.");
  types.shape = define(m, "ShapeError", {types.argument},
                       "Sizes, ranks or strides that do not fit together.");
  types.dtype = define(m, "DTypeError", {types.error, PyExc_TypeError},
                       "An element type that the operation does not take.");
  types.device = define(m, "DeviceError", {types.error, PyExc_RuntimeError},
                        "A device that is absent, mismatched or lacks the operation.");
  types.format = define(m, "FormatError", {types.error, PyExc_ValueError},
                        "A file that is truncated, corrupt or of another format.");
  types.out_of_memory = define(m, "OutOfMemoryError", {types.error, PyExc_MemoryError},
                               "An allocation that the device cannot satisfy.");
  types.index = define(m, "IndexError", {types.error, PyExc_IndexError},
                       "A label or index outside its range.");
  types.autograd = define(m, "AutogradError", {types.error, PyExc_RuntimeError},
                          "A misuse of the tape: a second backward, an edited saved tensor.");
  py::register_exception_translator(translate);
}

}  // namespace striate::python
