// In-place edits. They leave the tape alone and mark the storage as edited, so that a backward
// pass that saved it notices.
#include <cmath>

#include "ops/common.h"
#include "ops/elementwise.h"

namespace striate {
namespace {

/// Fills x by `fill(y)`, where y is float32 or float64 and row-major: an element's value depends
/// on its logical position alone.
template <class Fill>
void fill_in_order(const Tensor& x, const Fill& fill) {
  const bool direct = x.dtype() != DType::kBFloat16 && x.is_contiguous();
  const DType dtype = x.dtype() == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  const Tensor y = direct ? x : empty(x.shape(), {dtype, x.device()});
  fill(y);
  if (!direct) copy_into(y, x);
  bump_version(x);
}

void random_(const char* op, const Tensor& x, Distribution distribution, double a, double b) {
  check_inplace(op, x);
  require<DTypeError>(is_floating(x.dtype()), op, ": expected a floating-point tensor, got ",
                      x.dtype());
  find_kernel(op, backend(x.device()), &KernelTable::random);
  if (x.numel() == 0) return;
  fill_in_order(x, [&](const Tensor& y) {
    const RandomStretch random = reserve_random(y.device(), y.numel());
    launch<RandomArgs>(op, y.device(), &KernelTable::random,
                       {y.dtype(), y.data(), y.numel(), distribution, a, b, random.seed,
                        random.offset, random.base});
  });
}

}  // namespace

void fill_(const Tensor& x, double value) {
  check_inplace("fill_", x);
  check_scalar("fill_", x.dtype(), value);
  if (x.numel() == 0) return;
  if (x.is_dense()) {
    launch<FillArgs>("fill_", x.device(), &KernelTable::fill,
                     {x.dtype(), x.data(), x.numel(), value});
  } else {
    copy_into(full({}, value, options_of(x)), x);
  }
  bump_version(x);
}

void copy_(const Tensor& x, const Tensor& source) {
  check_inplace("copy_", x);
  check_defined("copy_", "source", source);
  require<ShapeError>(broadcast_shape("copy_", x.shape(), source.shape()) == x.shape(),
                      "copy_: expected a source that broadcasts to ", x.shape(), ", got ",
                      source.shape());
  if (x.numel() == 0) return;
  NoGrad guard;
  const bool overlaps = x.impl().storage == source.impl().storage;
  copy_into(overlaps ? clone(source) : to(source, x.device()), x);
  bump_version(x);
}

void add_(const Tensor& x, const Tensor& other, double alpha) {
  check_inplace("add_", x);
  check_shape("add_", "other", other, x.shape());
  check_same("add_", "x", x, "other", other);
  check_scalar("add_", x.dtype(), alpha);
  if (x.numel() == 0) return;
  NoGrad guard;
  const bool dense_floats = is_floating(x.dtype()) && x.is_dense() &&
                            same_strides(x.shape(), x.strides(), other.strides());
  if (dense_floats) {
    launch<AxpbyArgs>("add_", x.device(), &KernelTable::axpby,
                      {x.dtype(), other.data(), x.data(), x.numel(), alpha, 1});
  } else {
    const Tensor term = alpha == 1 ? other : mul(other, alpha);
    const bool overlaps = x.impl().storage == term.impl().storage;
    binary_into("add_", BinaryOp::kAdd, x, overlaps ? clone(term) : term, x);
  }
  bump_version(x);
}

void mul_(const Tensor& x, double factor) {
  check_inplace("mul_", x);
  check_scalar("mul_", x.dtype(), factor);
  if (x.numel() == 0) return;
  NoGrad guard;
  if (is_floating(x.dtype()) && x.is_dense()) {
    launch<AxpbyArgs>("mul_", x.device(), &KernelTable::axpby,
                      {x.dtype(), nullptr, x.data(), x.numel(), 0, factor});
  } else {
    binary_into("mul_", BinaryOp::kMul, x, full({}, factor, options_of(x)), x);
  }
  bump_version(x);
}

void uniform_(const Tensor& x, double low, double high) {
  require<ArgumentError>(std::isfinite(low) && std::isfinite(high) && low <= high,
                         "uniform_: expected finite bounds low <= high, got ", low, " and ", high);
  random_("uniform_", x, Distribution::kUniform, low, high);
}

void normal_(const Tensor& x, double mean, double stddev) {
  require<ArgumentError>(std::isfinite(mean) && std::isfinite(stddev) && stddev >= 0,
                         "normal_: expected a finite mean and stddev >= 0, got ", mean, " and ",
                         stddev);
  random_("normal_", x, Distribution::kNormal, mean, stddev);
}

}  // namespace striate
