// Graphs from C++: the optimizers' classes, and who owns what.
#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "striate/striate.h"

namespace striate {
namespace {

/// The bytes of a weight after six steps, the learning rate halved after each.
template <class Optimizer, class Options>
std::vector<float> trained(const Options& options, bool captured) {
  manual_seed(5);
  const Tensor weight = randn({4, 2, 3, 3}, {.requires_grad = true});
  const Tensor images = empty({3, 2, 6, 6});
  Optimizer optimizer({weight}, options);
  const auto step = [&] {
    optimizer.zero_grad();
    const Tensor y = dropout(conv2d(images, weight), 0.3, true);
    sum(mul(y, y)).backward();
    optimizer.step();
  };
  Graph graph{Device{}};
  for (int i = 0; i < 6; ++i) {
    copy_(images, full({3, 2, 6, 6}, 0.1 * (i + 1)));
    if (!captured || i == 0) {
      step();
    } else {
      if (i == 1) graph.capture(step);
      graph.replay();
    }
    optimizer.options.lr /= 2;
  }
  const float* values = weight.data<float>();
  return {values, values + weight.numel()};
}

TEST_CASE("a replayed step of SGD gives the same bits") {
  const SGDOptions options{.lr = 0.01, .momentum = 0.9};
  CHECK(trained<SGD>(options, true) == trained<SGD>(options, false));
}

TEST_CASE("a replayed step of Adam gives the same bits") {
  const AdamOptions options{.lr = 0.01};
  CHECK(trained<Adam>(options, true) == trained<Adam>(options, false));
}

TEST_CASE("a capture computes nothing, and a replay reads what is there by then") {
  const Tensor x = ones({4});
  Graph graph{Device{}};
  Tensor y;
  graph.capture([&] { y = add(x, 1.0); });
  fill_(x, 5);
  graph.replay();
  CHECK(y.data<float>()[3] == 6);
}

TEST_CASE("a graph keeps what it reads") {
  Graph graph{Device{}};
  Tensor y;
  {
    const Tensor x = full({1000}, 3);
    graph.capture([&] { y = add(x, 1.0); });
  }
  const Tensor other = full({1000}, 9);  // would take the place of x
  graph.replay();
  CHECK(y.data<float>()[0] == 4);
}

TEST_CASE("an exception ends the capture") {
  Graph graph{Device{}};
  CHECK_THROWS_AS(graph.capture([] { add(ones({2}), ones({3})); }), ShapeError);
  CHECK_FALSE(capturing(Device{}));
  CHECK_THROWS_AS(graph.replay(), DeviceError);
  CHECK(sum(ones({2})).item() == 2);
}

TEST_CASE("captures do not nest") {
  Graph outer{Device{}}, inner{Device{}};
  CHECK_THROWS_AS(outer.capture([&] { inner.capture([] {}); }), ArgumentError);
}

}  // namespace
}  // namespace striate
