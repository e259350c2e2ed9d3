#include <cmath>
#include <limits>

#include "ops/common.h"

namespace striate {
namespace {

/// A leaf may be filled before anybody has seen it: off the tape.
template <class Fill>
Tensor filled(const Dims& shape, const TensorOptions& options, const Fill& fill) {
  const Tensor x = empty(shape, options);
  NoGrad guard;
  fill(x);
  return x;
}

/// The largest value up to which arange may count.
double largest(DType dtype) {
  switch (dtype) {
    case DType::kInt64:
      return 0x1p63;
    case DType::kInt32:
      return std::numeric_limits<int32_t>::max();
    case DType::kUInt8:
      return std::numeric_limits<uint8_t>::max();
    default:
      return std::numeric_limits<float>::max();
  }
}

}  // namespace

Tensor zeros(const Dims& shape, const TensorOptions& options) { return full(shape, 0, options); }

Tensor zeros_like(const Tensor& like) {
  const Tensor x = empty_like(like);
  fill_(x, 0);
  return x;
}

Tensor ones(const Dims& shape, const TensorOptions& options) { return full(shape, 1, options); }

Tensor full(const Dims& shape, double value, const TensorOptions& options) {
  return filled(shape, options, [&](const Tensor& x) { fill_(x, value); });
}

Tensor rand(const Dims& shape, const TensorOptions& options) {
  return filled(shape, options, [](const Tensor& x) { uniform_(x, 0, 1); });
}

Tensor randn(const Dims& shape, const TensorOptions& options) {
  return filled(shape, options, [](const Tensor& x) { normal_(x, 0, 1); });
}

Tensor arange(double start, double end, double step, const TensorOptions& options) {
  require<DTypeError>(options.dtype != DType::kBool, "arange: expected a number type, got bool");
  require<ArgumentError>(std::isfinite(start) && std::isfinite(end) && std::isfinite(step) &&
                             step != 0 && (end - start) / step >= 0,
                         "arange: expected a finite step that leads from start to end, got start ",
                         start, ", end ", end, ", step ", step);
  const double count = std::ceil((end - start) / step);
  require<ShapeError>(count < 0x1p62, "arange: expected fewer than 2^62 elements, got ", count);
  const auto n = static_cast<int64_t>(count);
  if (n > 0) {
    const double last = start + static_cast<double>(n - 1) * step;
    const double low = options.dtype == DType::kUInt8 ? 0 : -largest(options.dtype);
    require<ArgumentError>(
        std::min(start, last) >= low && std::max(start, last) <= largest(options.dtype),
        "arange: expected values that fit ", options.dtype, ", got ", start, " to ", last);
  }
  const Tensor x = empty({n}, options);
  launch("arange", options.device, &KernelTable::arange,
         ArangeArgs{options.dtype, x.data(), n, start, step});
  return x;
}

}  // namespace striate
