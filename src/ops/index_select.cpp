#include "ops/common.h"

namespace striate {
namespace {

struct IndexSelectNode : Node {
  Dims shape;
  int dim = 0;
  SavedTensor indices;

  const char* name() const override { return "index_select"; }
  TensorList backward(const TensorList& grads) override {
    if (!grads[0].defined()) return {Tensor()};
    // Rows may be taken more than once; bfloat16 would round at every addition.
    const DType dtype = grads[0].dtype();
    const Tensor grad_y = row_major(to(grads[0], precise(dtype)));
    const Tensor grad_x = empty(shape, options_of(grad_y));
    const Tensor& rows = indices.get(*this);
    const Split split = split_at(shape, dim);
    if (grad_x.numel() > 0) {
      launch<IndexSelectBackwardArgs>(
          name(), grad_y.device(), &KernelTable::index_select_backward,
          {grad_y.dtype(), grad_y.data(), rows.data<int64_t>(), grad_x.data(), split.outer, split.n,
           split.inner, rows.numel()});
    }
    return {to(grad_x, dtype)};
  }
  void release() override { indices.reset(); }
};

}  // namespace

Tensor index_select(const Tensor& x, int dim, const Tensor& indices) {
  check_defined("index_select", "x", x);
  check_dim("index_select", "indices", indices, 1);
  require<DeviceError>(indices.device() == x.device(), "index_select: expected indices on ",
                       x.device(), ", the device of x, got ", indices.device());
  const int at = wrap_dim("index_select", dim, x.dim());
  const Split split = split_at(x.shape(), at);
  check_index_range("index_select", "indices", indices, 0, split.n, 0);
  const Tensor source = row_major(x), rows = row_major(indices);
  Dims shape = x.shape();
  shape[at] = indices.numel();
  const Tensor y = empty(shape, options_of(x));
  if (y.numel() > 0) {
    launch<IndexSelectArgs>("index_select", x.device(), &KernelTable::index_select,
                            {x.dtype(), source.data(), rows.data<int64_t>(), y.data(), split.outer,
                             split.n, split.inner, rows.numel()});
  }
  if (needs_grad({x})) {
    auto node = std::make_shared<IndexSelectNode>();
    node->shape = x.shape();
    node->dim = at;
    node->indices = SavedTensor(rows);
    record(node, {x}, {y});
  }
  return y;
}

}  // namespace striate
