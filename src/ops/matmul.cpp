// Matrix products on the convolution kernels: A (m, k) is m pixels of k channels, B (k, n) the
// transposed weight. B is read through its strides while it is packed, so it is never copied.
#include "ops/autocast.h"
#include "ops/convolution.h"

namespace striate {
namespace {

/// c (m, n) = a (m, k) b (k, n); a and c row-major.
void multiply(const Tensor& a, const Tensor& b, const Tensor& c) {
  const int64_t m = a.shape()[0], k = a.shape()[1], n = b.shape()[1];
  if (k == 0) return fill_(c, 0);
  run_forward("matmul", linear_geometry(m, k, n), a,
              {b, {b.strides()[1], b.strides()[0], 1, 1}, false}, {}, c);
}

/// c (k, n) = a (m, k) transposed times b (m, n); all row-major.
void multiply_transposed(const Tensor& a, const Tensor& b, const Tensor& c) {
  const int64_t m = a.shape()[0], k = a.shape()[1], n = b.shape()[1];
  run_weight_grad("matmul", linear_geometry(m, n, k), b, a, c);
}

/// x (batch..., rows, columns) expanded over `batch`, as (count, rows, columns) of any strides
/// where the batch folds into one dimension, else copied.
Tensor stacked(const Tensor& x, const Dims& batch) {
  Dims shape = batch;
  shape.push_back(x.size(-2));
  shape.push_back(x.size(-1));
  return reshape(expand(x, shape), {checked_numel(batch, "matmul"), x.size(-2), x.size(-1)});
}

Tensor matrix(const Tensor& stack, int64_t i) { return select(stack, 0, i); }

struct MatmulNode : Node {
  MatmulNode(const Dims& batch, const Tensor& a, const Tensor& b)
      : batch(batch), a_shape(a.shape()), b_shape(b.shape()) {}
  Dims batch, a_shape, b_shape;
  SavedTensor a, b;  // each for the other's gradient; a row-major

  const char* name() const override { return "matmul"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(2);
    if (!grads[0].defined()) return result;
    const Tensor grad = stacked(row_major(grads[0]), batch);
    if (needs_input(0)) {
      const Tensor weight = stacked(transpose(b.get(*this), -2, -1), batch);
      result[0] = product(grad, weight, a_shape, grad.size(1), weight.size(2), multiply);
    }
    if (needs_input(1)) {
      const Tensor source = row_major(stacked(a.get(*this), batch));
      result[1] = product(source, grad, b_shape, source.size(2), grad.size(2), multiply_transposed);
    }
    return result;
  }
  void release() override {
    a.reset();
    b.reset();
  }

 private:
  /// The gradient (rows, columns) of every batch, summed to the operand's shape.
  Tensor product(const Tensor& x, const Tensor& y, const Dims& shape, int64_t rows, int64_t columns,
                 void (*kernel)(const Tensor&, const Tensor&, const Tensor&)) {
    const Tensor stack = empty({x.size(0), rows, columns}, options_of(x));
    for (int64_t i = 0; i < x.size(0); ++i) kernel(matrix(x, i), matrix(y, i), matrix(stack, i));
    Dims full = batch;
    full.push_back(rows);
    full.push_back(columns);
    return sum_to_shape(reshape(stack, full), shape);
  }
};

/// Both operands of rank 2 or more.
Tensor batched(const Tensor& a, const Tensor& b) {
  require<ShapeError>(a.size(-1) == b.size(-2), "matmul: expected (..., m, k) x (..., k, n), got ",
                      a.shape(), " x ", b.shape());
  if (b.dim() == 2 && a.dim() > 2 && a.numel() > 0) {
    // One matrix for the whole batch: its rows are one product.
    Dims shape = a.shape();
    shape[a.dim() - 1] = b.size(1);
    return reshape(batched(reshape(a, {-1, a.size(-1)}), b), shape);
  }
  const Dims batch =
      broadcast_shape("matmul: batch dimensions", Dims(a.shape().begin(), a.shape().end() - 2),
                      Dims(b.shape().begin(), b.shape().end() - 2));
  Dims shape = batch;
  shape.push_back(a.size(-2));
  shape.push_back(b.size(-1));
  const Tensor left = row_major(a);
  const Tensor y = empty(shape, options_of(a));
  {
    NoGrad guard;
    const Tensor x = stacked(left, batch), weight = stacked(b, batch), stack = stacked(y, batch);
    for (int64_t i = 0; i < stack.size(0); ++i) {
      multiply(matrix(x, i), matrix(weight, i), matrix(stack, i));
    }
  }
  if (needs_grad({a, b})) {
    auto node = std::make_shared<MatmulNode>(batch, a, b);
    if (b.requires_grad()) node->a = SavedTensor(left);
    if (a.requires_grad()) node->b = SavedTensor(b);
    record(node, {a, b}, {y});
  }
  return y;
}

}  // namespace

Tensor matmul(const Tensor& left, const Tensor& right) {
  const Tensor a = autocast_down(left), b = autocast_down(right);
  check_floating("matmul", "the first operand", a);
  check_defined("matmul", "the second operand", b);
  check_same("matmul", "the first operand", a, "the second operand", b);
  require<ShapeError>(a.dim() >= 1 && b.dim() >= 1,
                      "matmul: expected operands of one dimension or more, got ", a.shape(), " x ",
                      b.shape());
  Tensor y = batched(a.dim() == 1 ? unsqueeze(a, 0) : a, b.dim() == 1 ? unsqueeze(b, 1) : b);
  if (b.dim() == 1) y = squeeze(y, -1);
  if (a.dim() == 1) y = squeeze(y, b.dim() == 1 ? -1 : -2);
  return y;
}

}  // namespace striate
