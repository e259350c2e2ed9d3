// Separable resampling: rows first, into bytes, then columns.
#include <algorithm>
#include <cmath>
#include <vector>

#include "striate/image.h"
#include "striate/ops.h"

namespace striate {
namespace {

constexpr int kFractionBits = 22;  // 8 bits of pixel and 2 of headroom make 32

/// What one output position reads: weights[k] of the source at first + k.
struct Taps {
  int64_t first;
  std::vector<int32_t> weights;
};

/// The triangle filter for positions [begin, begin + count) of an axis scaled from `source` to
/// `target` pixels. Where it shrinks, the triangle is as wide as two source pixels per target one.
std::vector<Taps> triangle_taps(int64_t source, int64_t target, int64_t begin, int64_t count) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  const double reach = std::max(scale, 1.0), slope = 1 / reach;
  std::vector<Taps> result;
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
    Taps taps{first, {}};
    const double share = 1 / total;  // products and not quotients, for Pillow's very roundings
    for (double weight : exact) {
      const double fixed = weight * share * (1 << kFractionBits);
      taps.weights.push_back(static_cast<int32_t>(fixed + 0.5));
    }
    result.push_back(std::move(taps));
  }
  return result;
}

uint8_t weighted(const Taps& taps, const uint8_t* source) {
  int32_t sum = 1 << (kFractionBits - 1);
  for (size_t k = 0; k < taps.weights.size(); ++k) sum += taps.weights[k] * source[taps.first + k];
  return static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

void check_inside(const char* what, const Rectangle& r, int64_t height, int64_t width) {
  const bool fits = r.top >= 0 && r.left >= 0 && r.height > 0 && r.width > 0 &&
                    r.top <= height - r.height && r.left <= width - r.width;
  require<ShapeError>(fits, "resize_image: expected a ", what, " within ", height, " x ", width,
                      ", got ", r.height, " x ", r.width, " at (", r.top, ", ", r.left, ")");
}

}  // namespace

Tensor resize_image(const Tensor& image, const Rectangle& region, Size2 size,
                    const Rectangle& window) {
  require<ArgumentError>(image.defined(), "resize_image: expected an image, got none");
  require<DTypeError>(image.dtype() == DType::kUInt8, "resize_image: expected uint8, got ",
                      image.dtype());
  require<ShapeError>(image.dim() == 3, "resize_image: expected an image (C, H, W), got shape ",
                      image.shape());
  check_inside("region", region, image.size(1), image.size(2));
  check_inside("window", window, size.h, size.w);

  const Tensor source = contiguous(image);
  const int64_t channels = source.size(0), stride = source.size(2);
  const std::vector<Taps> down = triangle_taps(region.height, size.h, window.top, window.height);
  const std::vector<Taps> across = triangle_taps(region.width, size.w, window.left, window.width);
  const int64_t first_row = down.front().first;
  int64_t last_row = first_row;
  for (const Taps& taps : down)
    last_row = std::max(last_row, taps.first + static_cast<int64_t>(taps.weights.size()));

  const Tensor result = empty({channels, window.height, window.width}, {DType::kUInt8});
  std::vector<uint8_t> rows((last_row - first_row) * window.width);
  std::vector<int32_t> sums(window.width);
  for (int64_t channel = 0; channel < channels; ++channel) {
    const uint8_t* plane = source.data<uint8_t>() + channel * source.size(1) * stride +
                           region.top * stride + region.left;
    for (int64_t y = first_row; y < last_row; ++y)
      for (int64_t x = 0; x < window.width; ++x)
        rows[(y - first_row) * window.width + x] = weighted(across[x], plane + y * stride);
    uint8_t* target = result.data<uint8_t>() + channel * window.height * window.width;
    for (int64_t y = 0; y < window.height; ++y) {
      const Taps& taps = down[y];
      const uint8_t* top = rows.data() + (taps.first - first_row) * window.width;
      std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
      for (size_t k = 0; k < taps.weights.size(); ++k)
        for (int64_t x = 0; x < window.width; ++x)
          sums[x] += taps.weights[k] * top[static_cast<int64_t>(k) * window.width + x];
      for (int64_t x = 0; x < window.width; ++x)
        *target++ = static_cast<uint8_t>(std::clamp(sums[x] >> kFractionBits, 0, 255));
    }
  }
  return result;
}

}  // namespace striate
