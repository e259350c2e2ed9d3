// Separable resampling: rows first, into pixels again, then columns.
#include <algorithm>
#include <cmath>
#include <vector>

#include "image/check.h"
#include "striate/autograd.h"
#include "striate/ops.h"

namespace striate {
namespace {

constexpr const char* kOp = "resize_images";

/// How pixels of a type are weighted and summed.
template <class T>
struct Pixel;

template <>
struct Pixel<uint8_t> {
  using Weight = int32_t;
  static constexpr bool kSmooth = true;
  static constexpr int kFractionBits = 22;  // 8 bits of pixel and 2 of headroom make 32
  static constexpr int32_t kStart = 1 << (kFractionBits - 1);

  static int32_t weight(double exact) {
    return static_cast<int32_t>(exact * (1 << kFractionBits) + 0.5);
  }
  static uint8_t store(int32_t sum) {
    return static_cast<uint8_t>(std::min(sum >> kFractionBits, 255));  // no weight is negative
  }
};

template <>
struct Pixel<float> {
  using Weight = float;
  static constexpr bool kSmooth = false;
  static constexpr float kStart = 0;

  static float weight(double exact) { return static_cast<float>(exact); }
  static float store(float sum) { return sum; }
};

/// One output position is the sum of weights[at + k] times the source at first + k, for k < count.
struct Taps {
  int64_t first, count, at;
};

template <class T>
struct Axis {
  std::vector<Taps> taps;
  std::vector<typename Pixel<T>::Weight> weights;
};

/// The triangle filter for positions [begin, begin + count) of an axis scaled from `source` to
/// `target` pixels. Where it shrinks and is smoothed, the triangle is as wide as two source pixels
/// per target one.
template <class T>
Axis<T> triangles(int64_t source, int64_t target, int64_t begin, int64_t count) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double reach = Pixel<T>::kSmooth ? std::max(scale, 1.0) : 1.0, slope = 1 / reach;
  Axis<T> axis;
  std::vector<double> exact;
  for (int64_t i = begin; i < begin + count; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - reach + 0.5), 0);
    const int64_t last = std::min(static_cast<int64_t>(centre + reach + 0.5), source);
    exact.clear();
    double total = 0;
    for (int64_t k = first; k < last; ++k) {
      const double distance = std::abs((static_cast<double>(k) - centre + 0.5) * slope);
      exact.push_back(std::max(1.0 - distance, 0.0));
      total += exact.back();
    }
    axis.taps.push_back({first, last - first, static_cast<int64_t>(axis.weights.size())});
    const double share = 1 / total;  // products and not quotients, for Pillow's very roundings
    for (double weight : exact) axis.weights.push_back(Pixel<T>::weight(weight * share));
  }
  return axis;
}

/// One row of pixels, `kGroup` channels at a time.
template <int kGroup, class T>
void resample_row(const Axis<T>& axis, int64_t channels, const T* source, T* target) {
  for (const Taps& taps : axis.taps) {
    const auto* weights = axis.weights.data() + taps.at;
    for (int64_t c = 0; c < channels; c += kGroup) {
      const T* from = source + taps.first * channels + c;
      typename Pixel<T>::Weight sums[kGroup];
      for (auto& sum : sums) sum = Pixel<T>::kStart;
      for (int64_t k = 0; k < taps.count; ++k, from += channels)
        for (int g = 0; g < kGroup; ++g) sums[g] += weights[k] * from[g];
      for (const auto sum : sums) *target++ = Pixel<T>::store(sum);
    }
  }
}

/// One row of `size` values from the rows at `source`, as many values apart.
template <class T>
void resample_column(const Axis<T>& axis, const Taps& taps, int64_t size, const T* source,
                     typename Pixel<T>::Weight* sums, T* target) {
  std::fill(sums, sums + size, Pixel<T>::kStart);
  for (int64_t k = 0; k < taps.count; ++k, source += size) {
    const auto weight = axis.weights[taps.at + k];
    for (int64_t i = 0; i < size; ++i) sums[i] += weight * source[i];
  }
  for (int64_t i = 0; i < size; ++i) target[i] = Pixel<T>::store(sums[i]);
}

template <class T>
void resample(const Tensor& source, const Rectangle& region, Size2 size, const Rectangle& window,
              const Tensor& result) {
  const int64_t channels = source.size(1), stride = source.size(3) * channels;
  const int64_t width = window.width * channels;
  const Axis<T> down = triangles<T>(region.height, size.h, window.top, window.height);
  const Axis<T> across = triangles<T>(region.width, size.w, window.left, window.width);
  const auto row = channels == 3 ? resample_row<3, T> : resample_row<1, T>;

  const int64_t first_row = down.taps.front().first;
  int64_t last_row = first_row;
  for (const Taps& taps : down.taps) last_row = std::max(last_row, taps.first + taps.count);
  std::vector<T> rows((last_row - first_row) * width);
  std::vector<typename Pixel<T>::Weight> sums(width);

  const T* corner = source.data<T>() + region.top * stride + region.left * channels;
  T* target = result.data<T>();
  for (int64_t n = 0; n < source.size(0); ++n, corner += source.size(2) * stride) {
    for (int64_t y = first_row; y < last_row; ++y)
      row(across, channels, corner + y * stride, rows.data() + (y - first_row) * width);
    for (const Taps& taps : down.taps) {
      resample_column(down, taps, width, rows.data() + (taps.first - first_row) * width,
                      sums.data(), target);
      target += width;
    }
  }
}

void check_inside(const char* what, const Rectangle& r, int64_t height, int64_t width) {
  const bool fits = r.top >= 0 && r.left >= 0 && r.height > 0 && r.width > 0 &&
                    r.top <= height - r.height && r.left <= width - r.width;
  require<ShapeError>(fits, kOp, ": expected a ", what, " within ", height, " x ", width, ", got ",
                      r.height, " x ", r.width, " at (", r.top, ", ", r.left, ")");
}

}  // namespace

Tensor resize_images(const Tensor& images, const Rectangle& region, Size2 size,
                     const Rectangle& window) {
  check_images(kOp, images);
  check_uint8_or_float32(kOp, images);
  check_inside("region", region, images.size(2), images.size(3));
  check_inside("window", window, size.h, size.w);
  const NoGrad guard;
  const Tensor source = contiguous(images, MemoryFormat::kChannelsLast);
  const Tensor result = empty({images.size(0), images.size(1), window.height, window.width},
                              {images.dtype()}, MemoryFormat::kChannelsLast);
  const auto run = images.dtype() == DType::kUInt8 ? resample<uint8_t> : resample<float>;
  run(source, region, size, window, result);
  return result;
}

}  // namespace striate
