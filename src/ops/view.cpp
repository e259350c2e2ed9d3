// Views: new shapes and strides over the same storage.
#include <optional>

#include "ops/common.h"

namespace striate {
namespace {

// --- reshape and its like -----------------------------------------------------------------------

struct ReshapeNode : Node {
  ReshapeNode(const char* op, const Dims& shape) : op(op), shape(shape) {}
  const char* op;
  Dims shape;

  const char* name() const override { return op; }
  TensorList backward(const TensorList& grads) override {
    return {grads[0].defined() ? reshape(grads[0], shape) : Tensor()};
  }
  void release() override {}
};

/// x seen through `shape` and `strides`, with a gradient that is merely reshaped.
Tensor reshaped(const char* op, const Tensor& x, const Tensor& source, const Dims& shape,
                const Dims& strides) {
  const Tensor y = view(source, shape, strides, source.impl().offset);
  if (needs_grad({x})) record(std::make_shared<ReshapeNode>(op, x.shape()), {x}, {y});
  return y;
}

/// Strides under which the elements of x, in order, have the new shape; none if only a copy would.
std::optional<Dims> view_strides(const Tensor& x, const Dims& shape) {
  if (x.numel() == 0) return dense_strides(shape);
  Dims sizes = x.shape(), steps = x.strides();
  coalesce(sizes, {&steps});
  Dims strides = Dims::filled(shape.size(), 1);
  int block = sizes.size() - 1;
  int64_t left = sizes[block], step = steps[block];  // of the block of x not yet handed out
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 1) continue;
    if (left == 1) {
      if (--block < 0) return {};
      left = sizes[block];
      step = steps[block];
    }
    if (left % shape[i] != 0) return {};
    strides[i] = step;
    step *= shape[i];
    left /= shape[i];
  }
  return strides;
}

Dims inferred_shape(const Tensor& x, const Dims& shape) {
  Dims result = shape;
  int unknown = -1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] != -1) continue;
    require<ShapeError>(unknown < 0, "reshape: expected at most one -1, got ", shape);
    unknown = i;
    result[i] = 1;
  }
  const int64_t known = checked_numel(result, "reshape");
  if (unknown >= 0 && known > 0) result[unknown] = x.numel() / known;
  require<ShapeError>(checked_numel(result, "reshape") == x.numel() && (unknown < 0 || known > 0),
                      "reshape: expected a shape of ", x.numel(), " elements for input ", x.shape(),
                      ", got ", shape);
  return result;
}

}  // namespace

Tensor reshape(const Tensor& x, const Dims& shape) {
  check_defined("reshape", "x", x);
  const Dims result = inferred_shape(x, shape);
  if (result == x.shape()) return x;
  if (const auto strides = view_strides(x, result)) {
    return reshaped("reshape", x, x, result, *strides);
  }
  return reshaped("reshape", x, row_major(x), result, dense_strides(result));
}

Tensor flatten(const Tensor& x, int start_dim, int end_dim) {
  check_defined("flatten", "x", x);
  if (x.dim() == 0) return reshape(x, {1});
  const int start = wrap_dim("flatten", start_dim, x.dim());
  const int end = wrap_dim("flatten", end_dim, x.dim());
  require<ArgumentError>(start <= end, "flatten: expected start_dim <= end_dim, got ", start_dim,
                         " and ", end_dim);
  Dims shape(x.shape().begin(), x.shape().begin() + start);
  int64_t merged = 1;
  for (int i = start; i <= end; ++i) merged *= x.shape()[i];
  shape.push_back(merged);
  for (int i = end + 1; i < x.dim(); ++i) shape.push_back(x.shape()[i]);
  return reshape(x, shape);
}

Tensor unsqueeze(const Tensor& x, int dim) {
  check_defined("unsqueeze", "x", x);
  const int at = wrap_dim("unsqueeze", dim, x.dim() + 1);
  Dims shape, strides;
  for (int i = 0; i <= x.dim(); ++i) {
    if (i == at) {
      shape.push_back(1);
      strides.push_back(1);
    }
    if (i == x.dim()) break;
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return reshaped("unsqueeze", x, x, shape, strides);
}

Tensor squeeze(const Tensor& x, int dim) {
  check_defined("squeeze", "x", x);
  const int at = wrap_dim("squeeze", dim, x.dim());
  if (x.shape()[at] != 1) return x;
  Dims shape, strides;
  for (int i = 0; i < x.dim(); ++i) {
    if (i == at) continue;
    shape.push_back(x.shape()[i]);
    strides.push_back(x.strides()[i]);
  }
  return reshaped("squeeze", x, x, shape, strides);
}

// --- permute ------------------------------------------------------------------------------------

namespace {

struct PermuteNode : Node {
  explicit PermuteNode(const Dims& inverse) : inverse(inverse) {}
  Dims inverse;

  const char* name() const override { return "permute"; }
  TensorList backward(const TensorList& grads) override {
    return {grads[0].defined() ? permute(grads[0], inverse) : Tensor()};
  }
  void release() override {}
};

}  // namespace

Tensor permute(const Tensor& x, const Dims& order) {
  check_defined("permute", "x", x);
  require<ShapeError>(order.size() == x.dim(), "permute: expected ", x.dim(),
                      " dimensions for input ", x.shape(), ", got ", order);
  Dims shape, strides, inverse = Dims::filled(x.dim(), -1);
  for (int i = 0; i < x.dim(); ++i) {
    require<IndexError>(order[i] >= -x.dim() && order[i] < x.dim(),
                        "permute: expected dimensions in [", -x.dim(), ", ", x.dim(), "), got ",
                        order);
    const int from = static_cast<int>(order[i] < 0 ? order[i] + x.dim() : order[i]);
    require<ShapeError>(inverse[from] < 0, "permute: expected each dimension once, got ", order);
    inverse[from] = i;
    shape.push_back(x.shape()[from]);
    strides.push_back(x.strides()[from]);
  }
  const Tensor y = view(x, shape, strides, x.impl().offset);
  if (needs_grad({x})) record(std::make_shared<PermuteNode>(inverse), {x}, {y});
  return y;
}

Tensor transpose(const Tensor& x, int dim0, int dim1) {
  check_defined("transpose", "x", x);
  Dims order;
  for (int i = 0; i < x.dim(); ++i) order.push_back(i);
  std::swap(order[wrap_dim("transpose", dim0, x.dim())],
            order[wrap_dim("transpose", dim1, x.dim())]);
  return permute(x, order);
}

// --- expand -------------------------------------------------------------------------------------

namespace {

struct ExpandNode : Node {
  explicit ExpandNode(const Dims& shape) : shape(shape) {}
  Dims shape;

  const char* name() const override { return "expand"; }
  TensorList backward(const TensorList& grads) override { return {sum_to_shape(grads[0], shape)}; }
  void release() override {}
};

}  // namespace

Tensor expand(const Tensor& x, const Dims& shape) {
  check_defined("expand", "x", x);
  Dims result = shape;
  const int lead = shape.size() - x.dim();
  bool fits = lead >= 0;
  for (int i = 0; fits && i < shape.size(); ++i) {
    const int64_t from = i < lead ? 1 : x.shape()[i - lead];
    if (i >= lead && shape[i] == -1) result[i] = from;
    fits = from == 1 || from == result[i];
  }
  require<ShapeError>(fits, "expand: expected a shape that ", x.shape(), " broadcasts to, got ",
                      shape);
  checked_numel(result, "expand");
  if (result == x.shape()) return x;
  const Tensor y = view(x, result, broadcast_strides(x, result), x.impl().offset);
  if (needs_grad({x})) record(std::make_shared<ExpandNode>(x.shape()), {x}, {y});
  return y;
}

}  // namespace striate
