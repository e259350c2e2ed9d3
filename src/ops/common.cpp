#include "ops/common.h"

#include <cmath>
#include <sstream>

#include "core/capture.h"

namespace striate {

void check_defined(const char* op, const char* argument, const Tensor& x) {
  require<ArgumentError>(x.defined(), op, ": expected a tensor as ", argument, ", got none");
}

void check_floating(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  require<DTypeError>(is_floating(x.dtype()), op, ": expected ", argument,
                      " of type float32, float64 or bfloat16, got ", x.dtype(),
                      "; use .to(\"float32\")");
}

void check_real(const char* op, const char* argument, const Tensor& x) {
  check_defined(op, argument, x);
  require<DTypeError>(x.dtype() == DType::kFloat32 || x.dtype() == DType::kFloat64, op,
                      ": expected ", argument, " of type float32 or float64, got ", x.dtype(),
                      "; use .to(\"float32\")");
}

void check_same(const char* op, const char* a_name, const Tensor& a, const char* b_name,
                const Tensor& b) {
  if (!a.defined() || !b.defined()) return;
  require<DTypeError>(a.dtype() == b.dtype(), op, ": expected ", b_name, " of type ", a.dtype(),
                      ", the type of ", a_name, ", got ", b.dtype());
  require<DeviceError>(a.device() == b.device(), op, ": expected ", b_name, " on ", a.device(),
                       ", the device of ", a_name, ", got ", b.device());
}

void check_same_precise(const char* op, const char* a_name, const Tensor& a, const char* b_name,
                        const Tensor& b) {
  if (!a.defined() || !b.defined()) return;
  const DType expected = precise(a.dtype());
  require<DTypeError>(b.dtype() == expected, op, ": expected ", b_name, " of type ", expected,
                      " for ", a_name, " of type ", a.dtype(), ", got ", b.dtype());
  require<DeviceError>(a.device() == b.device(), op, ": expected ", b_name, " on ", a.device(),
                       ", the device of ", a_name, ", got ", b.device());
}

void check_dim(const char* op, const char* argument, const Tensor& x, int dim) {
  check_defined(op, argument, x);
  require<ShapeError>(x.dim() == dim, op, ": expected ", argument, " with ", dim,
                      " dimensions, got shape ", x.shape());
}

void check_shape(const char* op, const char* argument, const Tensor& x, const Dims& expected) {
  check_defined(op, argument, x);
  require<ShapeError>(x.shape() == expected, op, ": expected ", argument, " of shape ", expected,
                      ", got ", x.shape());
}

int wrap_dim(const char* op, int dim, int rank) {
  require<IndexError>(dim >= -rank && dim < rank, op, ": expected a dimension in [", -rank, ", ",
                      rank, "), got ", dim);
  return dim < 0 ? dim + rank : dim;
}

void check_inplace(const char* op, const Tensor& x) {
  check_defined(op, "x", x);
  require<AutogradError>(!grad_enabled() || !x.requires_grad(), op,
                         ": in-place edit of a tensor that requires grad; wrap it in no_grad() or "
                         "use the out-of-place form");
  if (x.is_dense()) return;
  Dims shape = x.shape(), strides = x.strides();
  order_by_stride(shape, {&strides});
  int64_t extent = 0;  // elements spanned by the inner dimensions
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 0) return;
    if (shape[i] == 1) continue;
    require<ShapeError>(strides[i] > extent, op,
                        ": expected a tensor whose elements do not share memory, got shape ",
                        x.shape(), " with strides ", x.strides());
    extent += (shape[i] - 1) * strides[i];
  }
}

void check_scalar(const char* op, DType dtype, double value) {
  if (is_floating(dtype)) return;
  double low = 0, high = 1;
  if (dtype == DType::kInt64) low = -0x1p63, high = 0x1p63 - 1024;
  if (dtype == DType::kInt32) low = -0x1p31, high = 0x1p31 - 1;
  if (dtype == DType::kUInt8) high = 255;
  require<DTypeError>(value == std::trunc(value) && value >= low && value <= high, op,
                      ": expected a scalar that ", dtype, " can hold, got ", value,
                      "; use .to(\"float32\") on the tensor");
}

void check_index_range(const char* op, const char* what, const Tensor& indices, int64_t low,
                       int64_t high, int64_t ignore) {
  check_defined(op, what, indices);
  require<DTypeError>(indices.dtype() == DType::kInt64, op, ": expected ", what,
                      " of type int64, got ", indices.dtype());
  if (indices.numel() == 0) return;
  NoGrad guard;
  const Tensor flat = row_major(reshape(indices, {-1}));
  const Tensor bad = empty({}, options_of(indices));
  launch<FindOutOfRangeArgs>(
      op, indices.device(), &KernelTable::find_out_of_range,
      {flat.data<int64_t>(), flat.numel(), low, high, ignore, bad.data<int64_t>()});
  const auto check = [=] {
    const auto position = static_cast<int64_t>(bad.item());
    if (position < 0) return;
    fail<IndexError>(op, ": expected ", what, " in [", low, ", ", high, "), got ",
                     static_cast<int64_t>(select(flat, 0, position).item()), " at position ",
                     position);
  };
  Capture* capture = current_capture(indices.device());
  if (!capture) return check();
  if (auto* calls = captured_calls(indices.device())) return calls->push_back(check);
  std::ostringstream text;
  text << op << ": expected " << what << " in [" << low << ", " << high << ")";
  capture->checks.push_back(text.str());
  const Tensor count = to(compare(Comparison::kGe, bad, 0.0), DType::kInt64);
  copy_into(add(capture->bad_labels, count), capture->bad_labels);
}

Dims broadcast_shape(const char* op, const Dims& a, const Dims& b) {
  const int rank = std::max(a.size(), b.size());
  Dims shape = Dims::filled(rank, 1);
  for (int i = 1; i <= rank; ++i) {
    const int64_t from_a = i <= a.size() ? a[a.size() - i] : 1;
    const int64_t from_b = i <= b.size() ? b[b.size() - i] : 1;
    require<ShapeError>(from_a == from_b || from_a == 1 || from_b == 1, op,
                        ": expected shapes that broadcast together, got ", a, " and ", b);
    shape[rank - i] = from_a == 1 ? from_b : from_a;
  }
  return shape;
}

Dims broadcast_strides(const Tensor& x, const Dims& shape) {
  Dims strides = Dims::filled(shape.size(), 0);
  const int lead = shape.size() - x.dim();
  for (int i = 0; i < x.dim(); ++i) {
    if (x.shape()[i] != 1) strides[lead + i] = x.strides()[i];
  }
  return strides;
}

Tensor sum_to_shape(const Tensor& grad, const Dims& shape) {
  if (!grad.defined() || grad.shape() == shape) return grad;
  const int lead = grad.dim() - shape.size();
  Dims summed;
  for (int i = 0; i < grad.dim(); ++i) {
    if (i < lead || (shape[i - lead] == 1 && grad.shape()[i] != 1)) summed.push_back(i);
  }
  return reshape(summed.empty() ? grad : sum(grad, summed, true), shape);
}

void order_by_stride(Dims& shape, std::initializer_list<Dims*> strides) {
  const auto before = [&](int i, int j) {
    for (const Dims* operand : strides) {
      if ((*operand)[i] != (*operand)[j]) return (*operand)[i] > (*operand)[j];
    }
    return false;
  };
  for (int i = 1; i < shape.size(); ++i) {
    for (int j = i; j > 0 && before(j, j - 1); --j) {
      std::swap(shape[j], shape[j - 1]);
      for (Dims* operand : strides) std::swap((*operand)[j], (*operand)[j - 1]);
    }
  }
}

void coalesce(Dims& shape, std::initializer_list<Dims*> strides) {
  int last = -1;  // dimensions kept so far, less one
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    bool merges = last >= 0;
    for (const Dims* operand : strides) {
      merges = merges && (*operand)[last] == (*operand)[i] * shape[i];
    }
    if (!merges) ++last;
    shape[last] = merges ? shape[last] * shape[i] : shape[i];
    for (Dims* operand : strides) (*operand)[last] = (*operand)[i];
  }
  if (last < 0) {
    shape = {1};
    for (Dims* operand : strides) *operand = {0};
    return;
  }
  shape = Dims(shape.begin(), shape.begin() + last + 1);
  for (Dims* operand : strides) {
    *operand = Dims(operand->begin(), operand->begin() + last + 1);
  }
}

void copy_into(const Tensor& x, const Tensor& y) {
  if (y.numel() == 0) return;
  CopyArgs args{x.dtype(), y.dtype(), x.data(), y.data(), y.shape(), {}, y.strides()};
  args.x_strides = broadcast_strides(x, y.shape());
  order_by_stride(args.shape, {&args.y_strides, &args.x_strides});
  coalesce(args.shape, {&args.y_strides, &args.x_strides});
  launch("copy", y.device(), &KernelTable::copy, args);
}

Tensor empty_strided(const Dims& shape, const Dims& strides, const TensorOptions& options) {
  return view(empty({checked_numel(shape, "empty")}, options), shape, strides, 0);
}

bool same_strides(const Dims& shape, const Dims& a, const Dims& b) {
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] != 1 && a[i] != b[i]) return false;
  }
  return true;
}

Tensor with_strides(const Tensor& x, const Dims& strides) {
  if (same_strides(x.shape(), x.strides(), strides)) return x;
  const Tensor y = empty_strided(x.shape(), strides, options_of(x));
  copy_into(x, y);
  return y;
}

Split split_at(const Dims& shape, int dim) {
  Split split{1, shape[dim], 1};
  for (int i = 0; i < dim; ++i) split.outer *= shape[i];
  for (int i = dim + 1; i < shape.size(); ++i) split.inner *= shape[i];
  return split;
}

}  // namespace striate
