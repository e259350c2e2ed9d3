#include "support.h"

#include <algorithm>
#include <cmath>

namespace striate {

void* Arrays::add(const void* values, size_t bytes, Use use, DType dtype) {
  Array array = {nullptr, bytes, use, dtype, {}};
  if (posix_memalign(&array.data, 64, std::max<size_t>(bytes, 1) + readable_past_end_) != 0) {
    std::abort();
  }
  if (bytes > 0 && values == nullptr) std::memset(array.data, 0xFF, bytes);
  if (bytes > 0 && values != nullptr) std::memcpy(array.data, values, bytes);
  const auto* const begin = static_cast<const std::byte*>(array.data);
  array.original.assign(begin, begin + bytes);
  arrays_.push_back(array);
  return array.data;
}

void Arrays::check_inputs_unchanged() const {
  for (const Array& array : arrays_) {
    if (array.use != Use::kIn) continue;
    CHECK(std::equal(array.original.begin(), array.original.end(),
                     static_cast<const std::byte*>(array.data)));
  }
}

namespace {

double value_at(const void* data, DType dtype, size_t i) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(data)[i];
  if (dtype == DType::kFloat64) return static_cast<const double*>(data)[i];
  if (dtype == DType::kBFloat16) return static_cast<const __nv_bfloat16*>(data)[i];
  if (dtype == DType::kInt32) return static_cast<const int32_t*>(data)[i];
  if (dtype == DType::kInt64) return static_cast<double>(static_cast<const int64_t*>(data)[i]);
  return static_cast<const uint8_t*>(data)[i];
}

}  // namespace

void Arrays::check_same_outputs(const Arrays& expected, double tolerance) const {
  REQUIRE(arrays_.size() == expected.arrays_.size());
  for (size_t k = 0; k < arrays_.size(); ++k) {
    const Array &ours = arrays_[k], &theirs = expected.arrays_[k];
    REQUIRE(ours.use == theirs.use);
    if (ours.use != Use::kOut) continue;
    REQUIRE(ours.bytes == theirs.bytes);
    const size_t item = item_size(ours.dtype);
    for (size_t i = 0; i < ours.bytes / item; ++i) {
      const auto* const a = static_cast<const std::byte*>(ours.data) + i * item;
      const auto* const b = static_cast<const std::byte*>(theirs.data) + i * item;
      if (std::memcmp(a, b, item) == 0) continue;
      const double x = value_at(ours.data, ours.dtype, i);
      const double y = value_at(theirs.data, theirs.dtype, i);
      INFO("array ", k, ", item ", i, ": expected ", y, ", got ", x);
      REQUIRE(tolerance > 0);
      REQUIRE(std::abs(x - y) <= tolerance * std::max(std::abs(y), 1.0));
    }
  }
}

}  // namespace striate
