// The index arithmetic of the element-wise kernels against nested loops, and its 32-bit limits.
#include "simt.h"
// What kernels see comes first.
#include <doctest/doctest.h>

#include <array>
#include <limits>

#include "index.cuh"

namespace striate::cuda {
namespace {

/// Visits all places of `shape` in row-major order.
template <class Body>
void for_each_place(const Dims& shape, const Body& body) {
  Dims place = Dims::filled(shape.size(), 0);
  for (int64_t item = 0; item < numel(shape); ++item) {
    body(item, place);
    for (int d = shape.size() - 1; d >= 0 && ++place[d] == shape[d]; --d) place[d] = 0;
  }
}

template <class Index>
void check_offsets(const Dims& shape, const Dims& a, const Dims& b) {
  const auto space = make_space<Index>(shape, {&a, &b});
  REQUIRE(space.numel == numel(shape));
  for_each_place(shape, [&](int64_t item, const Dims& place) {
    std::array<int64_t, 2> expected = {};
    for (int d = 0; d < shape.size(); ++d) {
      expected[0] += place[d] * a[d];
      expected[1] += place[d] * b[d];
    }
    Index offset[2];
    space.offsets(static_cast<Index>(item), offset);
    REQUIRE(offset[0] == expected[0]);
    REQUIRE(offset[1] == expected[1]);
  });
}

TEST_CASE(
    "offsets of all shapes of up to four sizes of 1 to 4, with strides of either sign and 0") {
  for (int rank = 0; rank <= 4; ++rank) {
    for_each_place(Dims::filled(rank, 4), [&](int64_t, const Dims& place) {
      Dims shape, a, b;
      for (int d = 0; d < rank; ++d) {
        shape.push_back(place[d] + 1);
        a.push_back(d % 3 == 1 ? -100 * (d + 1) : 1000 - 300 * d);
        b.push_back(d % 2 == 0 ? 0 : 7 * d + 1);
      }
      check_offsets<int32_t>(shape, a, b);
      check_offsets<int64_t>(shape, a, b);
    });
  }
}

TEST_CASE("offsets of the largest number of dimensions") {
  const Dims shape = {2, 1, 3, 2, 1, 2, 3, 2}, dense = {72, 72, 24, 12, 12, 6, 2, 1};
  check_offsets<int32_t>(shape, dense, Dims::filled(8, -1));
}

TEST_CASE("32-bit indices are chosen where the whole last block and every offset fit") {
  constexpr int64_t kLast = std::numeric_limits<int32_t>::max() - kThreads * kItems;
  const Dims one = {1}, zero = {0}, far = {-65536};
  CHECK(fits_int32<1>({kLast}, {&one}));
  CHECK(!fits_int32<1>({kLast + 1}, {&one}));
  CHECK(!fits_int32<1>({kLast + 1}, {&zero}));
  CHECK(fits_int32<2>({32768}, {&one, &far}));
  CHECK(!fits_int32<2>({32769}, {&one, &far}));
}

}  // namespace
}  // namespace striate::cuda
