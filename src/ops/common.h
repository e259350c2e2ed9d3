// Checks and helpers that the ops share.
#pragma once

#include <initializer_list>
#include <string>

#include "core/tensor_impl.h"
#include "launch.h"
#include "striate/autograd.h"
#include "striate/ops.h"

namespace striate {

/// Throws ArgumentError, naming the op and the argument, if x is undefined.
void check_defined(const char* op, const char* argument, const Tensor& x);
/// Throws DTypeError unless x is float32, float64 or bfloat16.
void check_floating(const char* op, const char* argument, const Tensor& x);
/// Throws DTypeError unless x is float32 or float64.
void check_real(const char* op, const char* argument, const Tensor& x);
/// Throws DTypeError or DeviceError unless both agree; undefined tensors pass.
void check_same(const char* op, const char* a_name, const Tensor& a, const char* b_name,
                const Tensor& b);
/// As check_same for what stays float32 beside a bfloat16 `a`: there b is float32.
void check_same_precise(const char* op, const char* a_name, const Tensor& a, const char* b_name,
                        const Tensor& b);
/// The type of sums, statistics and parameters beside elements of `dtype`: float32 for bfloat16.
inline DType precise(DType dtype) { return dtype == DType::kBFloat16 ? DType::kFloat32 : dtype; }
/// Throws ShapeError unless x has the given rank / shape.
void check_dim(const char* op, const char* argument, const Tensor& x, int dim);
void check_shape(const char* op, const char* argument, const Tensor& x, const Dims& expected);
/// Maps a negative dimension; throws IndexError outside [-dim, dim).
int wrap_dim(const char* op, int dim, int rank);
/// Throws AutogradError if an in-place edit of x would escape the tape, ShapeError if elements of
/// x share memory.
void check_inplace(const char* op, const Tensor& x);
/// Throws DTypeError unless `value` is exact in an integer `dtype`; floating types take any.
void check_scalar(const char* op, DType dtype, double value);
/// Throws DTypeError, or IndexError unless every int64 index lies in [low, high) or equals
/// `ignore`.
void check_index_range(const char* op, const char* what, const Tensor& indices, int64_t low,
                       int64_t high, int64_t ignore);

/// Broadcast shape of two operands; throws ShapeError.
Dims broadcast_shape(const char* op, const Dims& a, const Dims& b);
/// The strides that walk x over a shape it broadcasts to.
Dims broadcast_strides(const Tensor& x, const Dims& shape);
/// Sums `grad` down to `shape`, the inverse of broadcasting.
Tensor sum_to_shape(const Tensor& grad, const Dims& shape);

/// Reorders dimensions so that the first operand is walked with falling strides.
void order_by_stride(Dims& shape, std::initializer_list<Dims*> strides);
/// Drops size-1 dimensions and merges dimensions that all operands walk contiguously; operand
/// strides are rewritten in place, outermost first. Yields at least one dimension.
void coalesce(Dims& shape, std::initializer_list<Dims*> strides);

/// Strided copy of x into y, which has x's shape (or one that x was expanded to).
void copy_into(const Tensor& x, const Tensor& y);

/// A tensor's element type and device.
inline TensorOptions options_of(const Tensor& x) { return {x.dtype(), x.device()}; }
/// Uninitialised, with the strides of a dense tensor of this shape.
Tensor empty_strided(const Dims& shape, const Dims& strides, const TensorOptions& options);
/// True if both strides place the elements of `shape` alike.
bool same_strides(const Dims& shape, const Dims& a, const Dims& b);
/// x, copied off the tape unless it lies in memory as `strides` say, which are dense.
Tensor with_strides(const Tensor& x, const Dims& strides);

/// The sizes before, at and after one dimension of a row-major tensor.
struct Split {
  int64_t outer, n, inner;
};
Split split_at(const Dims& shape, int dim);

/// x as a channels-last dense tensor; a copy only where needed, off the tape.
inline Tensor channels_last(const Tensor& x) {
  NoGrad guard;
  return contiguous(x, MemoryFormat::kChannelsLast);
}
/// x as a row-major dense tensor; a copy only where needed, off the tape.
inline Tensor row_major(const Tensor& x) {
  NoGrad guard;
  return contiguous(x);
}
/// x as a dense tensor of any order; a copy only where needed, off the tape.
inline Tensor dense(const Tensor& x) { return x.is_dense() ? x : row_major(x); }

}  // namespace striate
