// The tape and its engine: order, accumulation, saved tensors, failure, depth.
#include <doctest/doctest.h>

#include <functional>
#include <span>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/tensor_impl.h"
#include "striate/striate.h"

namespace st = striate;
using st::Dims;
using st::Tensor;
using st::TensorList;

namespace {

Tensor leaf(std::vector<float> values, bool requires_grad = true) {
  return st::from_values(std::span<const float>(values), Dims{static_cast<int64_t>(values.size())},
                         requires_grad);
}

std::vector<float> values(const Tensor& x) {
  const Tensor row = st::contiguous(x.detach());
  return {row.data<float>(), row.data<float>() + row.numel()};
}

using Floats = std::vector<float>;

/// Passes gradients through, after `action` has run.
struct Probe : st::Node {
  const char* name() const override { return "probe"; }
  TensorList backward(const TensorList& grads) override {
    action();
    return result.empty() ? grads : result;
  }
  void release() override { ++releases; }
  std::function<void()> action = [] {};
  TensorList result;
  int releases = 0;
};

/// A tensor whose producer is `node`.
Tensor through(const std::shared_ptr<Probe>& node, const Tensor& x) {
  const Tensor y = x.detach();
  st::record(node, {x}, {y});
  return y;
}

}  // namespace

TEST_CASE("gradients add up where paths meet") {
  const Tensor x = leaf({1, 2, 3});
  const Tensor y = st::add(st::mul(x, x), st::mul(x, 3));  // x^2 + 3x
  st::sum(y).backward();
  CHECK(values(x.grad()) == Floats{5, 7, 9});
}

TEST_CASE("gradients accumulate over passes") {
  const Tensor x = leaf({1, 2});
  for (int pass = 1; pass <= 3; ++pass) {
    st::sum(st::mul(x, 2)).backward();
    CHECK(values(x.grad()) == Floats{2.0f * pass, 2.0f * pass});
  }
}

TEST_CASE("gradients share memory with nothing") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4}), seed = leaf({1, 1}, false);
  st::add(a, b).backward(seed);
  CHECK(a.grad().data() != b.grad().data());
  CHECK(a.grad().data() != seed.data());
  st::fill_(a.grad(), 9);
  CHECK(values(b.grad()) == Floats{1, 1});
  CHECK(values(seed) == Floats{1, 1});
}

TEST_CASE("gradients have the memory order of their leaf") {
  const Tensor x =
      st::empty({2, 3, 4, 4}, {.requires_grad = true}, st::MemoryFormat::kChannelsLast);
  x.backward(st::ones({2, 3, 4, 4}));
  CHECK(x.grad().strides() == x.strides());
  const Tensor broadcast = leaf({1, 2, 3});
  st::sum(broadcast).backward();
  CHECK(broadcast.grad().strides() == Dims{1});
}

TEST_CASE("a leaf is its own tape") {
  const Tensor x = leaf({4});
  x.backward();
  CHECK(values(x.grad()) == Floats{1});
}

TEST_CASE("recording follows the mode and the inputs") {
  const Tensor x = leaf({1}), constant = leaf({1}, false);
  CHECK_FALSE(st::add(constant, constant).requires_grad());
  CHECK(st::add(x, constant).requires_grad());
  {
    const st::NoGrad guard;
    CHECK_FALSE(st::add(x, constant).requires_grad());
    const st::GradMode inner(true);
    CHECK(st::add(x, constant).requires_grad());
  }
  CHECK(st::grad_enabled());
  std::thread([] { CHECK(st::grad_enabled()); }).join();
  CHECK(st::add(x, x).detach().is_leaf());
}

TEST_CASE("what backward refuses") {
  const Tensor x = leaf({1, 2});
  CHECK_THROWS_AS(leaf({1}, false).backward(), st::AutogradError);
  const Tensor y = st::mul(x, x);
  CHECK_THROWS_AS(y.backward(), st::ShapeError);
  CHECK_THROWS_AS(y.backward(st::ones({3})), st::ShapeError);
  CHECK_THROWS_AS(y.backward(st::ones({2}, {.dtype = st::DType::kFloat64})), st::DTypeError);
  CHECK_FALSE(x.grad().defined());
  y.backward(st::ones({2}));
  CHECK(values(x.grad()) == Floats{2, 4});
}

TEST_CASE("only leaves change requires_grad") {
  const Tensor x = leaf({1}), y = st::mul(x, 2);
  CHECK_THROWS_AS(y.set_requires_grad(false), st::AutogradError);
  CHECK_THROWS_AS(st::zeros({1}, {.dtype = st::DType::kInt64}).set_requires_grad(true),
                  st::DTypeError);
  CHECK_THROWS_AS(x.set_grad(st::ones({2})), st::ShapeError);
  x.set_grad(st::ones({1}));
  x.set_grad({});
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a second backward says so") {
  const Tensor x = leaf({1, 2});
  const Tensor y = st::sum(st::mul(x, x));
  y.backward({}, true);
  y.backward();
  CHECK(values(x.grad()) == Floats{4, 8});
  CHECK_THROWS_WITH_AS(y.backward(), doctest::Contains("second time"), st::AutogradError);
  CHECK(values(x.grad()) == Floats{4, 8});
}

TEST_CASE("an edited saved tensor is noticed and no gradient changes") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4}, false), early = leaf({5, 6});
  w.set_requires_grad(true);
  const Tensor y = st::sum(st::add(st::mul(st::mul(x, w), 2), early));
  {
    const st::NoGrad guard;
    st::fill_(w, 7);
  }
  CHECK_THROWS_WITH_AS(y.backward(), doctest::Contains("edited in place"), st::AutogradError);
  CHECK_FALSE(x.grad().defined());
  CHECK_FALSE(early.grad().defined());
}

TEST_CASE("a pass that throws changes no gradient") {
  const Tensor a = leaf({1}), b = leaf({2});
  a.set_grad(leaf({10}, false));
  const auto probe = std::make_shared<Probe>();
  probe->action = [] { throw std::runtime_error("device lost"); };
  const Tensor y = st::add(through(probe, b), a);  // a is reached before the probe fails
  CHECK_THROWS_WITH(y.backward(), "device lost");
  CHECK(values(a.grad()) == Floats{10});
  CHECK_FALSE(b.grad().defined());
}

TEST_CASE("nodes are released once used, and checked") {
  const Tensor x = leaf({1, 2});
  auto probe = std::make_shared<Probe>();
  const Tensor y = through(probe, x);
  y.backward(st::ones({2}), true);
  CHECK(probe->releases == 0);
  y.backward(st::ones({2}));
  CHECK(probe->releases == 1);

  probe = std::make_shared<Probe>();
  probe->result = {st::ones({3})};
  CHECK_THROWS_WITH_AS(through(probe, x).backward(st::ones({2})), doctest::Contains("probe"),
                       st::ShapeError);
  probe = std::make_shared<Probe>();
  probe->result = {st::ones({2}), st::ones({2})};
  CHECK_THROWS_AS(through(probe, x).backward(st::ones({2})), st::AutogradError);
}

TEST_CASE("a chain of 100,000 operations neither recurses nor leaks") {
  const Tensor x = leaf({1});
  std::weak_ptr<st::Node> first;
  {
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) {
      y = through(std::make_shared<Probe>(), y);
      if (i == 0) first = y.grad_fn();
    }
    y.backward();
    CHECK(values(x.grad()) == Floats{1});
    CHECK_FALSE(first.expired());
  }
  CHECK(first.expired());
  CHECK(x.impl().accumulator.expired());
}

TEST_CASE("saving an output makes no cycle") {
  const Tensor x = leaf({1});
  std::weak_ptr<st::Node> node;
  {
    const Tensor y = st::exp(x);
    node = y.grad_fn();
  }
  CHECK(node.expired());
}

TEST_CASE("threads may share leaves") {
  const Tensor x = leaf({1, 1});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) st::sum(st::mul(x, 2)).backward();
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(values(x.grad()) == Floats{800, 800});
}
