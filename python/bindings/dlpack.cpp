// DLPack: sharing the elements of tensors with other libraries. On CUDA the consumer names a
// stream, and each side's stream waits for the other's at the handover and when the memory comes
// back.
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

dlpack::DeviceId device_id(Device device) {
  return {device.type == DeviceType::kCPU ? dlpack::kCpu : dlpack::kCuda, device.index};
}

/// A consumer's stream as DLPack numbers it: 1 is the legacy default stream, 2 the thread's.
void* stream_of(int64_t number) { return reinterpret_cast<void*>(number); }

constexpr int64_t kNoStream = -1;

/// Keeps an exported tensor, and the sizes that the structure points to, alive.
template <class M>
struct Export {
  ~Export() {
    if (stream == kNoStream) return;
    try {
      wait_for_stream(tensor.device(), stream_of(stream));  // its reads come before our next writes
    } catch (const Error&) {  // the device is lost, and nothing on it matters
    }
  }
  M managed;
  Tensor tensor;
  std::shared_ptr<void> loan;
  Dims shape, strides;
  int64_t stream = kNoStream;
};

/// A capsule over x. Its consumer renames it and calls the deleter; if there was none, the
/// capsule's destructor does.
template <class M>
py::object make_capsule(const Tensor& x, int64_t stream) {
  std::unique_ptr<Export<M>> holder(
      new Export<M>{M{}, x, x.lend(), x.shape(), x.strides(), kNoStream});
  M& managed = holder->managed;
  for (const TypePair& pair : kTypes) {
    if (pair.dtype == x.dtype()) managed.array.type = pair.type;
  }
  managed.array.data = x.data();
  managed.array.device = device_id(x.device());
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
  holder.release()->stream = stream;
  return py::reinterpret_steal<py::object>(capsule);
}

py::object to_dlpack(const Tensor& x, const py::object& stream, const py::object& max_version,
                     const py::object& dl_device, const py::object& copy) {
  if (x.requires_grad()) {
    throw py::buffer_error(
        "__dlpack__: expected a tensor that does not require grad, got "
        "requires_grad=True; call detach() first");
  }
  const dlpack::DeviceId own = device_id(x.device());
  if (!dl_device.is_none()) {
    const auto [type, index] = dl_device.cast<std::pair<int32_t, int32_t>>();
    if (type != own.type || index != own.index) {
      throw py::buffer_error("__dlpack__: expected the device that the tensor is on, (" +
                             std::to_string(own.type) + ", " + std::to_string(own.index) + ")");
    }
  }
  // Without a stream the consumer uses the legacy default one.
  int64_t number = kNoStream;
  if (own.type == dlpack::kCuda) {
    number = stream.is_none() ? 1 : stream.cast<int64_t>();
    if (number == 0 || number < kNoStream) {
      throw py::buffer_error("__dlpack__: expected a CUDA stream, 1, 2 or -1, got " +
                             std::to_string(number));
    }
  } else if (!stream.is_none()) {
    throw py::buffer_error("__dlpack__: expected no stream for a tensor on cpu");
  }
  const Tensor source = copy.is(py::bool_(true)) ? clone(x) : x;
  if (number != kNoStream) release_to_stream(x.device(), stream_of(number));
  if (max_version.is_none() || max_version[py::int_(0)].cast<int>() < 1) {
    return make_capsule<Managed>(source, number);
  }
  return make_capsule<ManagedVersioned>(source, number);
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
  const bool host = array.device.type == dlpack::kCpu;
  if (!host && array.device.type != dlpack::kCuda) {
    throw py::buffer_error("from_dlpack: expected a tensor on cpu or cuda, got device type " +
                           std::to_string(array.device.type));
  }
  const Device device = host ? Device{} : Device{DeviceType::kCUDA, array.device.index};
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
  std::shared_ptr<void> owner(managed, [device](void* owned) {
    if (!Py_IsInitialized()) return;
    if (device.type == DeviceType::kCUDA) {
      try {
        synchronize(device);  // the producer does not know our stream
      } catch (const Error&) {
      }
    }
    py::gil_scoped_acquire gil;
    M* self = static_cast<M*>(owned);
    if (self->deleter) self->deleter(self);
  });
  PyCapsule_SetName(capsule.ptr(), M::kUsedName);
  const Tensor result = from_memory(data, shape, strides, type->dtype, device, owner);
  return read_only ? clone(result) : result;
}

Tensor from_dlpack(py::object source) {
  if (py::hasattr(source, "__dlpack__")) {
    const py::object method = source.attr("__dlpack__");
    py::dict arguments;
    if (py::hasattr(source, "__dlpack_device__")) {
      const auto [type, index] =
          source.attr("__dlpack_device__")().cast<std::pair<int32_t, int32_t>>();
      if (type == dlpack::kCuda) {
        void* stream = stream_handle(Device{DeviceType::kCUDA, index});
        arguments["stream"] = reinterpret_cast<int64_t>(stream);
      }
    }
    try {
      source = method(py::arg("max_version") = py::make_tuple(1, 0), **arguments);
    } catch (py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;
      source = method(**arguments);  // a producer older than version 1
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

/// https://nvidia.github.io/numba-cuda/user/cuda_array_interface.html, version 3.
py::typing::Dict<py::str, py::object> cuda_array_interface(const Tensor& x) {
  if (x.device().type != DeviceType::kCUDA || x.dtype() == DType::kBFloat16 || x.requires_grad()) {
    throw py::attribute_error(
        "__cuda_array_interface__: expected a tensor on cuda, of a type that NumPy has, that does "
        "not require grad");
  }
  const auto size = static_cast<int64_t>(item_size(x.dtype()));
  const char kind = x.dtype() == DType::kBool    ? 'b'
                    : x.dtype() == DType::kUInt8 ? 'u'
                    : is_floating(x.dtype())     ? 'f'
                                                 : 'i';
  py::list shape, strides;
  for (int d = 0; d < x.dim(); ++d) {
    shape.append(x.shape()[d]);
    strides.append(x.strides()[d] * size);
  }
  py::typing::Dict<py::str, py::object> result;
  result["version"] = 3;
  result["typestr"] = (size == 1 ? "|" : "<") + std::string(1, kind) + std::to_string(size);
  result["shape"] = py::tuple(shape);
  result["strides"] = py::tuple(strides);
  result["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(x.data()), false);
  result["stream"] = reinterpret_cast<int64_t>(stream_handle(x.device()));
  return result;
}

}  // namespace

void bind_dlpack(py::module_& m, TensorClass& cls) {
  m.def("from_dlpack", &from_dlpack, py::arg("source"),
        "A tensor that shares the elements of any object with ``__dlpack__`` (PyTorch, NumPy, JAX, "
        "...) on the CPU or a CUDA device; a copy if they are read-only. Raises BufferError on "
        "another device, an unknown type or a capsule that was consumed before.");
  cls.def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
          py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
          py::arg("copy") = py::none())
      .def("__dlpack_device__",
           [](const Tensor& x) {
             const dlpack::DeviceId id = device_id(x.device());
             return std::pair(id.type, id.index);
           })
      .def_property_readonly(
          "__cuda_array_interface__", &cuda_array_interface,
          "The elements for Numba, CuPy and others (version 3 of the interface). AttributeError "
          "unless the tensor is on CUDA and of a type that NumPy has.");
}

}  // namespace striate::python
