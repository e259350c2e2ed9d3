// Value types shared by all layers: element types, devices, dimension lists, checked sizes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <string>
#include <string_view>

#include "striate/error.h"

namespace striate {

enum class DType : uint8_t { kFloat32, kFloat64, kBFloat16, kInt64, kInt32, kUInt8, kBool };

/// Bytes of one element.
size_t item_size(DType dtype);
/// "float32", "int64", ... : the names of NumPy and PyTorch.
const char* name(DType dtype);
/// Inverse of name(). Throws DTypeError.
DType parse_dtype(std::string_view text);
inline bool is_floating(DType dtype) { return dtype <= DType::kBFloat16; }
std::ostream& operator<<(std::ostream& out, DType dtype);

enum class DeviceType : uint8_t { kCPU, kCUDA };

struct Device {
  DeviceType type = DeviceType::kCPU;
  int index = 0;
  /// "cpu", "cuda" or "cuda:1". Throws DeviceError on anything else.
  static Device parse(std::string_view text);
  std::string str() const;
  bool operator==(const Device&) const = default;
};
std::ostream& operator<<(std::ostream& out, Device device);

/// An execution queue of a device; the CPU has one, whose handle is null.
struct Stream {
  void* handle = nullptr;
};

/// Memory order of a 4-D tensor; the logical order is always N, C, H, W.
enum class MemoryFormat : uint8_t { kContiguous, kChannelsLast };

inline constexpr int kMaxDims = 8;

/// Up to eight sizes or strides, held inline.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) : Dims(values.begin(), values.end()) {}
  template <class Iterator>
  Dims(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(*first);
  }
  /// `count` copies of `value`.
  static Dims filled(int count, int64_t value) {
    Dims dims;
    for (int i = 0; i < count; ++i) dims.push_back(value);
    return dims;
  }
  void push_back(int64_t value) {
    require<ShapeError>(count_ < kMaxDims, "tensor: at most ", kMaxDims, " dimensions");
    values_[count_++] = value;
  }
  int size() const { return count_; }
  bool empty() const { return count_ == 0; }
  int64_t& operator[](int i) { return values_[i]; }
  int64_t operator[](int i) const { return values_[i]; }
  int64_t back() const { return values_[count_ - 1]; }
  const int64_t* begin() const { return values_; }
  const int64_t* end() const { return values_ + count_; }
  int64_t* begin() { return values_; }
  int64_t* end() { return values_ + count_; }
  bool operator==(const Dims& other) const {
    return std::equal(begin(), end(), other.begin(), other.end());
  }

 private:
  int64_t values_[kMaxDims] = {};
  int count_ = 0;
};
/// Prints "(64, 3, 32, 32)".
std::ostream& operator<<(std::ostream& out, const Dims& dims);

/// Product and sum that throw ShapeError, naming `what`, instead of wrapping around.
int64_t checked_mul(int64_t a, int64_t b, const char* what);
int64_t checked_add(int64_t a, int64_t b, const char* what);
/// Number of elements of `shape`; throws ShapeError on a negative size or overflow.
int64_t checked_numel(const Dims& shape, const char* what);

/// A height and a width; one number stands for both.
struct Size2 {
  int64_t h, w;
  Size2(int64_t both) : h(both), w(both) {}  // NOLINT: implicit by design
  Size2(int64_t height, int64_t width) : h(height), w(width) {}
  bool operator==(const Size2&) const = default;
};
std::ostream& operator<<(std::ostream& out, Size2 size);

}  // namespace striate
