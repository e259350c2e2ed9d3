// What a convolution leaves for batch norm with its result: used once, and only while it holds. The
// moments here are wrong on purpose, so that their use shows.
#include <doctest/doctest.h>

#include "ops/row_moments.h"
#include "striate/striate.h"

namespace striate {
namespace {

constexpr int64_t kChannels = 3, kRows = 2 * 4 * 4, kChunkRows = 20;

/// Mean 10 and a sum of squared deviations of 2 in each of two chunks.
KeptMoments wrong_moments() {
  const KeptMoments moments{std::make_shared<Storage>(2 * 2 * kChannels * sizeof(double), Device{}),
                            kChunkRows};
  auto* values = static_cast<double*>(moments.storage->data);
  for (int64_t i = 0; i < 4 * kChannels; ++i) values[i] = i / kChannels % 2 == 0 ? 10 : 2;
  return moments;
}

Tensor result_of_conv() {
  const Tensor x = contiguous(randn({2, kChannels, 4, 4}), MemoryFormat::kChannelsLast);
  keep_moments(x, wrong_moments());
  return x;
}

/// Whether training takes its mean from the moments.
bool uses_moments(const Tensor& x) {
  const Tensor mean = zeros({kChannels}), var = ones({kChannels});
  batch_norm(x, mean, var, {}, {}, {.training = true, .momentum = 1});
  const bool used = mean.data<float>()[1] == 10;
  if (used) CHECK(var.data<float>()[1] == doctest::Approx(4.0 / (kRows - 1)));
  return used;
}

TEST_CASE("moments are used once") {
  const Tensor x = result_of_conv();
  CHECK(uses_moments(x));
  CHECK_FALSE(uses_moments(x));
}

TEST_CASE("a detached handle has the same moments, a view has none") {
  const Tensor x = result_of_conv();
  CHECK_FALSE(uses_moments(slice(x, 2, 0, 2, 1)));
  CHECK(uses_moments(x.detach()));
  CHECK_FALSE(uses_moments(x));
}

TEST_CASE("an edit ends them, and so does memory on loan") {
  const Tensor edited = result_of_conv();
  add_(edited, ones(edited.shape()));
  CHECK_FALSE(uses_moments(edited));
  const Tensor lent = result_of_conv();
  {
    const auto loan = lent.lend();
    CHECK_FALSE(uses_moments(lent));
  }
  CHECK_FALSE(uses_moments(lent));
  const Tensor returned = result_of_conv();
  returned.lend();
  CHECK_FALSE(uses_moments(returned));
}

TEST_CASE("evaluation leaves them") {
  const Tensor x = result_of_conv();
  batch_norm(x, zeros({kChannels}), ones({kChannels}), {}, {});
  CHECK(uses_moments(x));
}

TEST_CASE("a graph does not read moments that it does not compute") {
  const Tensor x = result_of_conv(), mean = zeros({kChannels}), var = ones({kChannels});
  Graph graph{Device{}};
  graph.capture([&] { batch_norm(x, mean, var, {}, {}, {.training = true, .momentum = 1}); });
  graph.replay();
  CHECK(mean.data<float>()[1] != 10);
}

}  // namespace
}  // namespace striate
