// Moving pixels and making numbers of them: every loop reads by strides and writes channels-last.
#include <algorithm>
#include <array>
#include <cstring>

#include "image/check.h"
#include "striate/ops.h"

namespace striate {
namespace {

Tensor channels_last_like(const Tensor& images, Size2 size, DType dtype) {
  return empty({images.size(0), images.size(1), size.h, size.w}, {dtype},
               MemoryFormat::kChannelsLast);
}

/// Calls `move` with an unsigned integer as wide as an element: moving needs to know no more.
template <class Move>
void by_width(DType dtype, const Move& move) {
  switch (item_size(dtype)) {
    case 1:
      return move(uint8_t{});
    case 2:
      return move(uint16_t{});
    case 4:
      return move(uint32_t{});
    default:
      return move(uint64_t{});
  }
}

template <class From, class To, class Value>
inline To* copy_pixels(const From* from, int64_t channels, int64_t stride, int64_t step,
                       int64_t count, To* to, const Value& value) {
  for (int64_t x = 0; x < count; ++x, from += step)
    for (int64_t c = 0; c < channels; ++c) *to++ = value(c, from[c * stride]);
  return to;
}

/// `count` pixels, which lie `step` elements apart, as value(channel, element).
template <class From, class To, class Value>
To* copy_pixels(const From* from, const Tensor& images, int64_t step, int64_t count, To* to,
                const Value& value) {
  const int64_t channels = images.size(1), stride = images.strides()[1];
  // With the usual number of channels a constant, the compiler unrolls the loop over them.
  return channels == 3 ? copy_pixels(from, 3, stride, step, count, to, value)
                       : copy_pixels(from, channels, stride, step, count, to, value);
}

/// The whole of `images` into `result`, as value(channel, element).
template <class From, class To, class Value>
void copy_images(const Tensor& images, const Tensor& result, const Value& value) {
  const Dims& strides = images.strides();
  To* to = result.data<To>();
  for (int64_t n = 0; n < images.size(0); ++n)
    for (int64_t y = 0; y < images.size(2); ++y)
      to = copy_pixels(images.data<From>() + n * strides[0] + y * strides[2], images, strides[3],
                       images.size(3), to, value);
}

constexpr auto kSame = [](int64_t, auto element) { return element; };

}  // namespace

Tensor crop_images(const Tensor& images, const std::vector<Corner>& corners, Size2 size,
                   double fill) {
  constexpr const char* kOp = "crop_images";
  check_images(kOp, images);
  check_per_image(kOp, "corners", corners.size(), images);
  require<ShapeError>(size.h > 0 && size.w > 0, kOp, ": expected a size above 0, got ", size);
  const int64_t height = images.size(2), width = images.size(3), channels = images.size(1);
  const Tensor blank = full({1}, fill, {images.dtype()});
  const Tensor result = channels_last_like(images, size, images.dtype());
  by_width(images.dtype(), [&](auto element) {
    using T = decltype(element);
    const Dims& strides = images.strides();
    const T outside = *blank.data<T>();
    T* to = result.data<T>();
    for (int64_t n = 0; n < images.size(0); ++n) {
      // A rectangle that lies outside altogether may as well lie right beside the image.
      const int64_t top = std::clamp(corners[n].top, -size.h, height);
      const int64_t left = std::clamp(corners[n].left, -size.w, width);
      const int64_t begin = std::max<int64_t>(left, 0), end = std::min(left + size.w, width);
      for (int64_t y = top; y < top + size.h; ++y) {
        const bool inside = y >= 0 && y < height && begin < end;
        const int64_t before = inside ? begin - left : size.w;
        to = std::fill_n(to, before * channels, outside);
        if (!inside) continue;
        const T* row = images.data<T>() + n * strides[0] + y * strides[2] + begin * strides[3];
        to = copy_pixels(row, images, strides[3], end - begin, to, kSame);
        to = std::fill_n(to, (left + size.w - end) * channels, outside);
      }
    }
  });
  return result;
}

Tensor flip_images(const Tensor& images, const std::vector<bool>& mirrored) {
  constexpr const char* kOp = "flip_images";
  check_images(kOp, images);
  check_per_image(kOp, "choices", mirrored.size(), images);
  const int64_t height = images.size(2), width = images.size(3);
  const Tensor result = channels_last_like(images, {height, width}, images.dtype());
  by_width(images.dtype(), [&](auto element) {
    using T = decltype(element);
    const Dims& strides = images.strides();
    T* to = result.data<T>();
    for (int64_t n = 0; n < images.size(0); ++n) {
      const int64_t step = mirrored[n] ? -strides[3] : strides[3];
      const int64_t first = mirrored[n] && width > 0 ? (width - 1) * strides[3] : 0;
      for (int64_t y = 0; y < height; ++y)
        to = copy_pixels(images.data<T>() + n * strides[0] + y * strides[2] + first, images, step,
                         width, to, kSame);
    }
  });
  return result;
}

Tensor erase_images(const Tensor& images, const std::vector<Corner>& corners, Size2 size) {
  constexpr const char* kOp = "erase_images";
  check_images(kOp, images);
  check_per_image(kOp, "corners", corners.size(), images);
  require<ShapeError>(size.h > 0 && size.w > 0, kOp, ": expected a size above 0, got ", size);
  const int64_t height = images.size(2), width = images.size(3);
  const Tensor result = channels_last_like(images, {height, width}, images.dtype());
  by_width(images.dtype(), [&](auto element) {
    using T = decltype(element);
    copy_images<T, T>(images, result, kSame);
    const int64_t channels = images.size(1);
    for (int64_t n = 0; n < images.size(0); ++n) {
      const auto [top, left] = corners[n];
      const int64_t bottom = std::min(checked_add(top, size.h, kOp), height);
      const int64_t begin = std::max<int64_t>(left, 0);
      const int64_t end = std::max(begin, std::min(checked_add(left, size.w, kOp), width));
      T* image = result.data<T>() + n * height * width * channels;
      for (int64_t y = std::max<int64_t>(top, 0); y < bottom; ++y)
        std::fill(image + (y * width + begin) * channels, image + (y * width + end) * channels,
                  T{0});
    }
  });
  return result;
}

Tensor normalize_images(const Tensor& images, const std::vector<double>& mean,
                        const std::vector<double>& std, double unit) {
  constexpr const char* kOp = "normalize_images";
  check_images(kOp, images);
  check_uint8_or_float32(kOp, images);
  const int64_t channels = images.size(1);
  const auto fits = [&](const std::vector<double>& values) {
    return values.size() == 1 || static_cast<int64_t>(values.size()) == channels;
  };
  require<ShapeError>(fits(mean) && fits(std), kOp, ": expected 1 or ", channels,
                      " values of mean and std for images of ", channels, " channels, got ",
                      mean.size(), " and ", std.size());
  for (double value : std)
    require<ArgumentError>(value > 0, kOp, ": expected std above 0, got ", value);

  const auto factor = static_cast<float>(unit);
  std::vector<float> scale(channels), shift(channels);
  for (int64_t c = 0; c < channels; ++c) {
    const double deviation = std[std.size() == 1 ? 0 : c];
    scale[c] = static_cast<float>(1 / deviation);
    shift[c] = static_cast<float>(-mean[mean.size() == 1 ? 0 : c] / deviation);
  }
  const auto normalized = [&](int64_t c, float x) { return x * factor * scale[c] + shift[c]; };
  const Tensor result =
      channels_last_like(images, {images.size(2), images.size(3)}, DType::kFloat32);
  if (images.dtype() == DType::kFloat32) {
    copy_images<float, float>(images, result, normalized);
    return result;
  }
  std::vector<std::array<float, 256>> table(channels);  // a byte has no more values
  for (int64_t c = 0; c < channels; ++c)
    for (int x = 0; x < 256; ++x) table[c][x] = normalized(c, static_cast<float>(x));
  copy_images<uint8_t, float>(images, result, [&](int64_t c, uint8_t x) { return table[c][x]; });
  return result;
}

}  // namespace striate
