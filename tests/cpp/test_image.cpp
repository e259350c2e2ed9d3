// Pictures through the public API; tests/python/test_images.py compares with NumPy and Pillow.
#include <doctest/doctest.h>

#include <numeric>

#include "striate/striate.h"

using namespace striate;

namespace {

/// Two images of three channels, 2 x 3: channel c of pixel p of image n is 18n + 3p + c.
Tensor two_images() {
  const Tensor images = empty({2, 3, 2, 3}, {DType::kUInt8}, MemoryFormat::kChannelsLast);
  std::iota(images.data<uint8_t>(), images.data<uint8_t>() + images.numel(), uint8_t{0});
  return images;
}

std::vector<int> values(const Tensor& x) {  // in memory's order
  return {x.data<uint8_t>(), x.data<uint8_t>() + x.numel()};
}

}  // namespace

TEST_CASE("images: crop, flip, erase") {
  const Tensor images = two_images();
  const Tensor cropped = crop_images(images, {{0, 1}, {-1, 2}}, {2, 1}, 99);
  CHECK(cropped.shape() == Dims{2, 3, 2, 1});
  CHECK(cropped.is_contiguous(MemoryFormat::kChannelsLast));
  CHECK(values(cropped) == std::vector<int>{3, 4, 5, 12, 13, 14, 99, 99, 99, 24, 25, 26});
  const Tensor flipped = flip_images(slice(images, 0, 0, 1), {true});
  CHECK(values(flipped) ==
        std::vector<int>{6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11});
  const Tensor erased = erase_images(slice(images, 0, 0, 1), {{-1, 1}}, 2);
  CHECK(values(erased) ==
        std::vector<int>{0, 1, 2, 0, 0, 0, 0, 0, 0, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  CHECK_THROWS_AS(crop_images(images, {{0, 0}}, 1), ShapeError);
  CHECK_THROWS_AS(flip_images({}, {}), ArgumentError);
}

TEST_CASE("images: normalize, resize") {
  const Tensor images = two_images();
  const Tensor x = normalize_images(images, {1, 2, 3}, {2}, 0.5);
  CHECK(x.dtype() == DType::kFloat32);
  CHECK(x.data<float>()[4] == (4 * 0.5f - 2) / 2);
  CHECK(x.data<float>()[35] == (35 * 0.5f - 3) / 2);
  CHECK_THROWS_AS(normalize_images(images, {0}, {-1}), ArgumentError);
  const Tensor mean = resize_images(images, {0, 0, 2, 3}, 1, {0, 0, 1, 1});
  CHECK(values(mean) == std::vector<int>{8, 9, 10, 26, 27, 28});
  const Tensor same = resize_images(x, {0, 0, 2, 3}, {2, 3}, {0, 0, 2, 3});
  CHECK(std::equal(x.data<float>(), x.data<float>() + x.numel(), same.data<float>()));
}
