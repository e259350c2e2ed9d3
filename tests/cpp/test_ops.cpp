// The public API as a C++ program uses it: exact values where integers allow them, gradients, and
// a network that learns.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "striate/striate.h"

namespace {

using namespace striate;

Tensor tensor(const std::vector<float>& values, const Dims& shape, bool requires_grad = false) {
  return from_values(std::span<const float>(values), shape, requires_grad);
}

Tensor labels(const std::vector<int64_t>& values) {
  return from_values(std::span<const int64_t>(values), {static_cast<int64_t>(values.size())});
}

/// Elements in row-major order.
std::vector<float> values(const Tensor& x) {
  const Tensor dense = contiguous(x);
  const float* first = dense.data<float>();
  return {first, first + dense.numel()};
}

TEST_CASE("conv2d sums its window, its stride and its groups") {
  const Tensor x = tensor({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 1, 3, 3});
  const Tensor weight = tensor({1, 0, 0, -1}, {1, 1, 2, 2});
  CHECK(values(conv2d(x, weight)) == std::vector<float>{-4, -4, -4, -4});
  const Tensor strided = conv2d(x, weight, tensor({10}, {1}), {.stride = 2, .padding = 1});
  CHECK(strided.shape() == Dims{1, 1, 2, 2});
  CHECK(values(strided) == std::vector<float>{9, 7, 3, 6});

  const Tensor two = tensor({1, 2, 3, 4}, {1, 2, 1, 2});
  const Tensor per_group = tensor({10, 100}, {2, 1, 1, 1});
  CHECK(values(conv2d(two, per_group, {}, {.groups = 2})) == std::vector<float>{10, 20, 300, 400});
}

TEST_CASE("conv_transpose2d is the adjoint of conv2d") {
  manual_seed(1);
  const Tensor x = randn({2, 4, 5, 7}, {.dtype = DType::kFloat64});
  const Tensor weight = randn({6, 2, 3, 2}, {.dtype = DType::kFloat64});
  const Tensor y = conv2d(x, weight, {}, {.stride = 2, .padding = 1, .groups = 2});
  const Tensor probe = randn(y.shape(), {.dtype = DType::kFloat64});
  const Tensor back = conv_transpose2d(
      probe, weight, {}, {.stride = 2, .padding = 1, .output_padding = {0, 1}, .groups = 2});
  REQUIRE(back.shape() == x.shape());
  CHECK(sum(mul(y, probe)).item() == doctest::Approx(sum(mul(x, back)).item()).epsilon(1e-12));
}

TEST_CASE("max_pool2d keeps NaN and gives ties to the first") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Tensor x = tensor({1, 1, nan, 0, 1, 1, 5, 7}, {1, 1, 2, 4}, true);
  const Tensor y = max_pool2d(x, {.kernel = 2});
  CHECK(values(y)[0] == 1);
  CHECK(std::isnan(values(y)[1]));
  sum(y).backward();
  CHECK(values(x.grad()) == std::vector<float>{1, 0, 1, 0, 0, 0, 0, 0});
}

TEST_CASE("broadcast operands get gradients of their own shape") {
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, {2, 3}, true);
  const Tensor b = tensor({10, 20, 30}, {3}, true);
  sum(mul(a, b)).backward();
  CHECK(values(a.grad()) == std::vector<float>{10, 20, 30, 10, 20, 30});
  CHECK(b.grad().shape() == Dims{3});
  CHECK(values(b.grad()) == std::vector<float>{5, 7, 9});
}

TEST_CASE("errors name the operation and leave the tape usable") {
  const Tensor x = zeros({1, 3, 8, 8});
  CHECK_THROWS_WITH_AS(conv2d(x, zeros({6, 4, 5, 5})), doctest::Contains("conv2d: expected"),
                       ShapeError);
  CHECK_THROWS_AS(conv2d(x, zeros({6, 3, 9, 9})), ShapeError);
  CHECK_THROWS_AS(conv2d(x, zeros({6, 3, 3, 3}), {}, {.stride = 0}), Error);
  CHECK_THROWS_AS(add(x, to(x, DType::kFloat64)), DTypeError);
  CHECK_THROWS_AS(cross_entropy(zeros({2, 3}), labels({0, 3})), IndexError);

  const Tensor leaf = tensor({2}, {1}, true);
  const Tensor y = exp(leaf);
  y.backward();
  CHECK_THROWS_AS(y.backward(), AutogradError);
}

TEST_CASE("a small network learns") {
  manual_seed(0);
  const Tensor x = randn({64, 1, 8, 8});
  // The label tells which half of the image is brighter.
  const Tensor halves = sum(reshape(x, {64, 2, 32}), {2});
  const Tensor target = argmax(halves, 1);

  Tensor filter = empty({4, 1, 3, 3}), weight = empty({2, 64});
  uniform_(filter, -0.5, 0.5);
  uniform_(weight, -0.2, 0.2);
  const Tensor filter_bias = zeros({4}, {.requires_grad = true});
  const Tensor bias = zeros({2}, {.requires_grad = true});
  filter.set_requires_grad(true);
  weight.set_requires_grad(true);

  SGD optimizer({filter, filter_bias, weight, bias}, {.lr = 0.05, .momentum = 0.9});
  double first = 0, last = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    Tensor h = relu(conv2d(x, filter, filter_bias, {.padding = 1}));
    h = max_pool2d(h, {.kernel = 2});
    const Tensor loss = cross_entropy(linear(flatten(h, 1), weight, bias), target);
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  CHECK(first > 0.5);
  CHECK(last < 0.3 * first);
}

}  // namespace
