#include "striate/tensor.h"

#include <bit>
#include <cstring>
#include <mutex>

#include "core/backend.h"
#include "core/capture.h"

namespace striate {
namespace {

std::mutex derived_mutex;  // guards the creation of TensorImpl::derived

TensorImpl& defined(const Tensor& x) {
  require<ArgumentError>(x.defined(), "tensor: expected a tensor, got an undefined one");
  return x.impl();
}

Tensor make(std::shared_ptr<Storage> storage, const Dims& shape, const Dims& strides,
            int64_t offset, int64_t numel, DType dtype) {
  auto impl = std::make_shared<TensorImpl>();
  impl->storage = std::move(storage);
  impl->offset = offset;
  impl->shape = shape;
  impl->strides = strides;
  impl->numel = numel;
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

/// Strides of single-element dimensions are never walked, so they do not count.
bool same_order(const Dims& shape, const Dims& a, const Dims& b) {
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] > 1 && a[i] != b[i]) return false;
  }
  return true;
}

template <class T>
double read_as(const void* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return static_cast<double>(value);
}

double read_element(const void* data, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return read_as<float>(data);
    case DType::kFloat64:
      return read_as<double>(data);
    case DType::kInt64:
      return read_as<int64_t>(data);
    case DType::kInt32:
      return read_as<int32_t>(data);
    case DType::kUInt8:
    case DType::kBool:
      return read_as<uint8_t>(data);
    case DType::kBFloat16:
      break;
  }
  uint16_t upper;  // bfloat16 is the upper half of a float32
  std::memcpy(&upper, data, sizeof(upper));
  return std::bit_cast<float>(static_cast<uint32_t>(upper) << 16);
}

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kFloat32;
  if constexpr (std::is_same_v<T, double>) return DType::kFloat64;
  if constexpr (std::is_same_v<T, int64_t>) return DType::kInt64;
  if constexpr (std::is_same_v<T, int32_t>) return DType::kInt32;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::kUInt8;
}

}  // namespace

// --- Geometry -----------------------------------------------------------------------------------

Dims dense_strides(const Dims& shape, MemoryFormat format) {
  Dims strides = Dims::filled(shape.size(), 1);
  int64_t step = 1;
  const auto place = [&](int d) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  };
  if (format == MemoryFormat::kChannelsLast) {
    for (int d : {1, 3, 2, 0}) place(d);
  } else {
    for (int d = shape.size() - 1; d >= 0; --d) place(d);
  }
  return strides;
}

const Dims& Tensor::shape() const { return striate::defined(*this).shape; }
const Dims& Tensor::strides() const { return striate::defined(*this).strides; }
int64_t Tensor::numel() const { return striate::defined(*this).numel; }
DType Tensor::dtype() const { return striate::defined(*this).dtype; }
Device Tensor::device() const { return striate::defined(*this).storage->device; }
void* Tensor::data() const {
  const TensorImpl& x = striate::defined(*this);
  if (Capture* capture = current_capture(x.storage->device)) [[unlikely]]
    capture->keep(x.storage);
  return x.data();
}

int64_t Tensor::size(int d) const {
  const int rank = dim();
  require<IndexError>(d >= -rank && d < rank, "size: expected a dimension in [", -rank, ", ", rank,
                      "), got ", d);
  return shape()[d < 0 ? d + rank : d];
}

bool Tensor::is_contiguous(MemoryFormat format) const {
  if (format == MemoryFormat::kChannelsLast && dim() != 4) return false;
  return numel() == 0 || same_order(shape(), strides(), dense_strides(shape(), format));
}

bool Tensor::is_dense() const {
  // From the innermost dimension out: each must start where those inside it end.
  const TensorImpl& x = striate::defined(*this);
  for (int64_t step = 1; step < x.numel;) {
    int d = 0;
    while (d < x.shape.size() && (x.shape[d] == 1 || x.strides[d] != step)) ++d;
    if (d == x.shape.size()) return false;
    step *= x.shape[d];
  }
  return true;
}

double Tensor::item() const {
  require<ShapeError>(numel() == 1, "item: expected one element, got shape ", shape());
  check_not_capturing("item", device(), "reading an element");
  std::byte element[sizeof(double)];
  backend(device()).transfer(element, Device{}, data(), device(), item_size(dtype()));
  return read_element(element, dtype());
}

// --- Creation -----------------------------------------------------------------------------------

Tensor empty(const Dims& shape, const TensorOptions& options, MemoryFormat format) {
  const int64_t numel = checked_numel(shape, "empty");
  const int64_t bytes = checked_mul(numel, static_cast<int64_t>(item_size(options.dtype)), "empty");
  require<ShapeError>(format == MemoryFormat::kContiguous || shape.size() == 4,
                      "empty: expected four dimensions for channels-last, got shape ", shape);
  require<DTypeError>(!options.requires_grad || is_floating(options.dtype),
                      "empty: expected a floating type for requires_grad, got ", options.dtype);
  const Tensor x = make(std::make_shared<Storage>(static_cast<size_t>(bytes), options.device),
                        shape, dense_strides(shape, format), 0, numel, options.dtype);
  x.impl().requires_grad = options.requires_grad;
  return x;
}

Tensor empty_like(const Tensor& like) { return empty_like(like, like.dtype()); }

Tensor empty_like(const Tensor& like, DType dtype) {
  const Tensor x = empty(like.shape(), {.dtype = dtype, .device = like.device()});
  if (!like.is_contiguous() && like.is_dense()) x.impl().strides = like.strides();
  return x;
}

Tensor from_memory(void* data, const Dims& shape, const Dims& strides, DType dtype, Device device,
                   std::shared_ptr<void> owner) {
  const int64_t numel = checked_numel(shape, "from_memory");
  checked_mul(numel, static_cast<int64_t>(item_size(dtype)), "from_memory");
  require<ShapeError>(strides.size() == shape.size(), "from_memory: expected ", shape.size(),
                      " strides, got ", strides.size());
  require<ArgumentError>(data != nullptr || numel == 0, "from_memory: expected memory, got null");
  backend(device);  // throws if the device is not there
  return make(std::make_shared<Storage>(data, device, std::move(owner)), shape, strides, 0, numel,
              dtype);
}

template <class T>
Tensor from_values(std::span<const T> values, const Dims& shape, bool requires_grad) {
  const int64_t numel = checked_numel(shape, "from_values");
  require<ShapeError>(static_cast<uint64_t>(numel) == values.size(), "from_values: expected ",
                      numel, " values for shape ", shape, ", got ", values.size());
  check_not_capturing("from_values", Device{}, "a copy of host values");
  const Tensor x = empty(shape, {.dtype = dtype_of<T>(), .requires_grad = requires_grad});
  if (numel > 0) std::memcpy(x.data(), values.data(), values.size_bytes());
  return x;
}
template Tensor from_values(std::span<const float>, const Dims&, bool);
template Tensor from_values(std::span<const double>, const Dims&, bool);
template Tensor from_values(std::span<const int64_t>, const Dims&, bool);
template Tensor from_values(std::span<const int32_t>, const Dims&, bool);
template Tensor from_values(std::span<const uint8_t>, const Dims&, bool);

Tensor view(const Tensor& x, const Dims& shape, const Dims& strides, int64_t offset) {
  return make(x.impl().storage, shape, strides, offset, checked_numel(shape, "view"), x.dtype());
}

// --- The tape -----------------------------------------------------------------------------------

bool Tensor::requires_grad() const { return striate::defined(*this).requires_grad; }

const Tensor& Tensor::set_requires_grad(bool value) const {
  require<AutogradError>(is_leaf(),
                         "set_requires_grad: expected a leaf, got the result of an operation "
                         "(detach() it first)");
  require<DTypeError>(!value || is_floating(dtype()),
                      "set_requires_grad: expected a floating type, got ", dtype());
  impl().requires_grad = value;
  return *this;
}

bool Tensor::is_leaf() const { return grad_fn() == nullptr; }

const std::shared_ptr<Node>& Tensor::grad_fn() const { return striate::defined(*this).grad_fn; }

Tensor Tensor::grad() const { return Tensor(striate::defined(*this).grad); }

void Tensor::set_grad(const Tensor& grad) const {
  TensorImpl& x = striate::defined(*this);
  if (grad.defined()) {
    require<ShapeError>(grad.shape() == x.shape, "set_grad: expected shape ", x.shape, ", got ",
                        grad.shape());
    require<DTypeError>(grad.dtype() == x.dtype, "set_grad: expected ", x.dtype, ", got ",
                        grad.dtype());
    require<DeviceError>(grad.device() == device(), "set_grad: expected ", device(), ", got ",
                         grad.device());
  }
  x.grad = grad.impl_ptr();
}

Tensor Tensor::detach() const {
  TensorImpl& x = striate::defined(*this);
  Tensor result = make(x.storage, x.shape, x.strides, x.offset, x.numel, x.dtype);
  std::lock_guard lock(derived_mutex);
  result.impl().derived = x.derived;  // the same elements: what was derived from them holds too
  return result;
}

std::shared_ptr<void> Tensor::lend() const {
  const std::shared_ptr<Storage> storage = striate::defined(*this).storage;
  check_not_capturing("lend", storage->device, "lending elements to other code");
  storage->loans.fetch_add(1);
  return {storage.get(), [storage](void*) {
            storage->returned_loans.fetch_add(1);
            storage->loans.fetch_sub(1);
          }};
}

uint64_t Tensor::version() const {
  return striate::defined(*this).storage->version.load(std::memory_order_relaxed);
}

void bump_version(const Tensor& x) {
  const std::shared_ptr<Storage>& storage = x.impl().storage;
  storage->version.fetch_add(1, std::memory_order_relaxed);
  Capture* capture = current_capture(storage->device);
  if (capture && storage->arena != capture->arena) capture->edited.insert(storage);
}

DerivedCache& derived_cache(const Tensor& x) {
  std::lock_guard lock(derived_mutex);
  auto& derived = x.impl().derived;
  if (!derived) derived = std::make_shared<DerivedCache>();
  return *derived;
}

}  // namespace striate
