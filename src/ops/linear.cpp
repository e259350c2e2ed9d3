// x times the transposed weight, as a 1x1 convolution of one pixel per row.
#include "ops/autocast.h"
#include "ops/convolution.h"

namespace striate {
namespace {

struct LinearNode : Node {
  Conv2dGeometry g{};
  Dims x_shape;
  DType bias_dtype{};
  SavedTensor x, weight;

  const char* name() const override { return "linear"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(3);
    if (!grads[0].defined()) return result;
    const Tensor grad_y = row_major(grads[0]);
    const TensorOptions options = options_of(grad_y);
    if (needs_input(0)) {
      result[0] = empty(x_shape, options);
      const bool keep = !needs_input(1);  // one that is trained changes before its next use
      run_input_grad("linear", g, grad_y, linear_weight(weight.get(*this), keep), {}, result[0]);
    }
    if (needs_input(1)) {
      result[1] = empty({g.o, g.c}, options);
      run_weight_grad("linear", g, x.get(*this), grad_y, result[1]);
    }
    if (needs_input(2)) result[2] = bias_grad("linear", grad_y, g.o, bias_dtype);
    return result;
  }
  void release() override {
    x.reset();
    weight.reset();
  }
};

}  // namespace

Tensor linear(const Tensor& input, const Tensor& matrix, const Tensor& bias) {
  const Tensor x = autocast_down(input), weight = autocast_weight(matrix);
  check_floating("linear", "input", x);
  check_dim("linear", "weight", weight, 2);
  check_same("linear", "input", x, "weight", weight);
  require<ShapeError>(weight.numel() > 0, "linear: expected a weight with elements, got shape ",
                      weight.shape());
  const int64_t out = weight.shape()[0], in = weight.shape()[1];
  require<ShapeError>(x.dim() >= 1 && x.shape().back() == in, "linear: expected input (..., ", in,
                      ") for weight ", weight.shape(), ", got ", x.shape());
  check_bias("linear", x, bias, out);
  const Conv2dGeometry g = linear_geometry(x.numel() / in, in, out);
  const Tensor source = row_major(x);
  const Tensor offset = bias_vector(bias);
  Dims shape = x.shape();
  shape[x.dim() - 1] = out;
  const Tensor y = empty(shape, options_of(x));
  run_forward("linear", g, source, linear_weight(weight, true), offset, y);
  if (needs_grad({x, weight, bias})) {
    auto node = std::make_shared<LinearNode>();
    node->g = g;
    node->x_shape = x.shape();
    if (weight.requires_grad()) node->x = SavedTensor(source);
    if (x.requires_grad()) node->weight = SavedTensor(weight);
    if (bias.defined()) node->bias_dtype = bias.dtype();
    record(node, {x, weight, bias}, {y});
  }
  return y;
}

}  // namespace striate
