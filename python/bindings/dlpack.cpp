// DLPack: sharing the elements of CPU tensors with other libraries.
#include "bindings.h"
#include "dlpack_abi.h"

namespace striate::python {
namespace {

using dlpack::Managed;
using dlpack::ManagedVersioned;

struct TypePair {
  DType dtype;
  dlpack::ElementType type;
};
constexpr TypePair kTypes[] = {
    {DType::kFloat32, {dlpack::kFloat, 32, 1}},   {DType::kFloat64, {dlpack::kFloat, 64, 1}},
    {DType::kBFloat16, {dlpack::kBfloat, 16, 1}}, {DType::kInt64, {dlpack::kInt, 64, 1}},
    {DType::kInt32, {dlpack::kInt, 32, 1}},       {DType::kUInt8, {dlpack::kUInt, 8, 1}},
    {DType::kBool, {dlpack::kBool, 8, 1}},
};

/// Keeps an exported tensor, and the sizes that the structure points to, alive.
template <class M>
struct Export {
  M managed;
  Tensor tensor;
  std::shared_ptr<void> loan;
  Dims shape, strides;
};

/// A capsule over x. Its consumer renames it and calls the deleter; if there was none, the
/// capsule's destructor does.
template <class M>
py::object make_capsule(const Tensor& x) {
  auto holder = std::make_unique<Export<M>>(Export<M>{M{}, x, x.lend(), x.shape(), x.strides()});
  M& managed = holder->managed;
  for (const TypePair& pair : kTypes) {
    if (pair.dtype == x.dtype()) managed.array.type = pair.type;
  }
  managed.array.data = x.data();
  managed.array.device = {dlpack::kCpu, 0};
  managed.array.ndim = x.dim();
  managed.array.shape = holder->shape.begin();
  managed.array.strides = holder->strides.begin();
  managed.context = holder.get();
  managed.deleter = [](M* self) { delete static_cast<Export<M>*>(self->context); };
  if constexpr (std::is_same_v<M, ManagedVersioned>) managed.major = 1;
  PyObject* capsule = PyCapsule_New(&managed, M::kName, [](PyObject* unused) {
    if (!PyCapsule_IsValid(unused, M::kName)) return;
    M* self = static_cast<M*>(PyCapsule_GetPointer(unused, M::kName));
    self->deleter(self);
  });
  if (!capsule) throw py::error_already_set();
  holder.release();
  return py::reinterpret_steal<py::object>(capsule);
}

py::object to_dlpack(const Tensor& x, const py::object& stream, const py::object& max_version,
                     const py::object& dl_device, const py::object& copy) {
  if (x.requires_grad()) {
    throw py::buffer_error(
        "__dlpack__: expected a tensor that does not require grad, got "
        "requires_grad=True; call detach() first");
  }
  const bool host = x.device().type == DeviceType::kCPU &&
                    (dl_device.is_none() || dl_device[py::int_(0)].cast<int>() == dlpack::kCpu);
  if (!host || !stream.is_none()) {
    throw py::buffer_error("__dlpack__: expected a tensor on cpu, no stream and no other device");
  }
  const Tensor source = copy.is(py::bool_(true)) ? clone(x) : x;
  if (max_version.is_none() || max_version[py::int_(0)].cast<int>() < 1) {
    return make_capsule<Managed>(source);
  }
  return make_capsule<ManagedVersioned>(source);
}

/// Takes a capsule over: checks first, then marks it as used.
template <class M>
Tensor consume(const py::object& capsule) {
  M* managed = static_cast<M*>(PyCapsule_GetPointer(capsule.ptr(), M::kName));
  if (!managed) throw py::error_already_set();
  bool read_only = false;
  if constexpr (std::is_same_v<M, ManagedVersioned>) {
    if (managed->major != 1) throw py::buffer_error("from_dlpack: expected version 1 of DLPack");
    read_only = managed->flags & dlpack::kReadOnly;
  }
  const dlpack::Array& array = managed->array;
  if (array.device.type != dlpack::kCpu) {
    throw py::buffer_error("from_dlpack: expected a tensor on cpu, got device type " +
                           std::to_string(array.device.type));
  }
  const TypePair* type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& pair) {
    return pair.type.code == array.type.code && pair.type.bits == array.type.bits &&
           pair.type.lanes == array.type.lanes;
  });
  if (type == std::end(kTypes)) {
    throw py::buffer_error("from_dlpack: expected a type that Striate has, got code " +
                           std::to_string(array.type.code) + " of " +
                           std::to_string(array.type.bits) + " bits");
  }
  const Dims shape(array.shape, array.shape + array.ndim);
  Dims strides = Dims::filled(shape.size(), 1);
  for (int i = shape.size() - 2; i >= 0; --i) strides[i] = strides[i + 1] * shape[i + 1];
  for (int i = 0; array.strides && i < shape.size(); ++i) {
    if (shape[i] > 1) strides[i] = array.strides[i];
    if (strides[i] < 0) throw py::buffer_error("from_dlpack: expected strides of at least 0");
  }
  char* data = static_cast<char*>(array.data) + array.byte_offset;
  if (reinterpret_cast<uintptr_t>(data) % item_size(type->dtype) != 0) {
    throw py::buffer_error("from_dlpack: expected aligned elements");
  }
  // The producer's deleter may touch Python objects.
  std::shared_ptr<void> owner(managed, [](void* owned) {
    if (!Py_IsInitialized()) return;
    py::gil_scoped_acquire gil;
    M* self = static_cast<M*>(owned);
    if (self->deleter) self->deleter(self);
  });
  PyCapsule_SetName(capsule.ptr(), M::kUsedName);
  const Tensor result = from_memory(data, shape, strides, type->dtype, Device{}, owner);
  return read_only ? clone(result) : result;
}

Tensor from_dlpack(py::object source) {
  if (py::hasattr(source, "__dlpack__")) {
    const py::object method = source.attr("__dlpack__");
    try {
      source = method(py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      source = method();  // a producer older than version 1
    }
  }
  if (PyCapsule_IsValid(source.ptr(), ManagedVersioned::kName)) {
    return consume<ManagedVersioned>(source);
  }
  if (PyCapsule_IsValid(source.ptr(), Managed::kName)) return consume<Managed>(source);
  if (PyCapsule_CheckExact(source.ptr())) {
    throw py::buffer_error("from_dlpack: expected a fresh capsule, got one already consumed");
  }
  throw py::type_error("from_dlpack: expected an object with __dlpack__ or a DLPack capsule");
}

}  // namespace

void bind_dlpack(py::module_& m, TensorClass& cls) {
  m.def("from_dlpack", &from_dlpack, py::arg("source"),
        "A tensor that shares the elements of any object with ``__dlpack__`` (PyTorch, NumPy, JAX, "
        "...) on the CPU; a copy if they are read-only. Raises BufferError on another device, an "
        "unknown type or a capsule that was consumed before.");
  cls.def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
          py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
          py::arg("copy") = py::none())
      .def("__dlpack_device__", [](const Tensor& x) {
        require<DeviceError>(x.device().type == DeviceType::kCPU,
                             "__dlpack_device__: expected a tensor on cpu, got ", x.device());
        return std::pair(dlpack::kCpu, 0);
      });
}

}  // namespace striate::python
