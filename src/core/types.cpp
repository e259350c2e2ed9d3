#include "striate/types.h"

#include <charconv>
#include <iterator>

namespace striate {
namespace {

struct DTypeInfo {
  const char* name;
  size_t size;
};
constexpr DTypeInfo kDTypes[] = {{"float32", 4}, {"float64", 8}, {"bfloat16", 2}, {"int64", 8},
                                 {"int32", 4},   {"uint8", 1},   {"bool", 1}};

}  // namespace

size_t item_size(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].size; }

const char* name(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

DType parse_dtype(std::string_view text) {
  for (size_t i = 0; i < std::size(kDTypes); ++i) {
    if (text == kDTypes[i].name) return static_cast<DType>(i);
  }
  fail<DTypeError>("dtype: expected float32, float64, bfloat16, int64, int32, uint8 or bool, got '",
                   text, "'");
}

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name(dtype); }

Device Device::parse(std::string_view text) {
  constexpr std::string_view kCuda = "cuda";
  if (text == "cpu") return {};
  if (text == kCuda) return {DeviceType::kCUDA, 0};
  if (text.starts_with("cuda:")) {
    Device device{DeviceType::kCUDA, 0};
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + kCuda.size() + 1, end, device.index);
    if (parsed.ec == std::errc() && parsed.ptr == end && device.index >= 0) return device;
  }
  fail<DeviceError>("device: expected 'cpu', 'cuda' or 'cuda:<index>', got '", text, "'");
}

std::string Device::str() const {
  return type == DeviceType::kCPU ? "cpu" : "cuda:" + std::to_string(index);
}

std::ostream& operator<<(std::ostream& out, Device device) { return out << device.str(); }

std::ostream& operator<<(std::ostream& out, const Dims& dims) {
  out << '(';
  for (int i = 0; i < dims.size(); ++i) out << (i > 0 ? ", " : "") << dims[i];
  return out << (dims.size() == 1 ? ",)" : ")");
}

std::ostream& operator<<(std::ostream& out, Size2 size) {
  return out << '(' << size.h << ", " << size.w << ')';
}

int64_t checked_mul(int64_t a, int64_t b, const char* what) {
  int64_t product;
  require<ShapeError>(!__builtin_mul_overflow(a, b, &product), what,
                      ": expected sizes below 2^63, got ", a, " * ", b);
  return product;
}

int64_t checked_add(int64_t a, int64_t b, const char* what) {
  int64_t total;
  require<ShapeError>(!__builtin_add_overflow(a, b, &total), what,
                      ": expected sizes below 2^63, got ", a, " + ", b);
  return total;
}

int64_t checked_numel(const Dims& shape, const char* what) {
  // Zeros count as one in the overflow check, so that strides cannot overflow either.
  int64_t bound = 1;
  bool is_empty = false;
  for (int64_t size : shape) {
    require<ShapeError>(size >= 0, what, ": expected sizes >= 0, got shape ", shape);
    is_empty |= size == 0;
    require<ShapeError>(!__builtin_mul_overflow(bound, std::max<int64_t>(size, 1), &bound), what,
                        ": expected fewer than 2^63 elements, got shape ", shape);
  }
  return is_empty ? 0 : bound;
}

}  // namespace striate
