// Pictures on their way into a tensor: batches (N, C, H, W) on the CPU, of any strides. A decoded
// file is channels-last as it comes, and so is every result here: the order that networks read.
#pragma once

#include <vector>

#include "striate/tensor.h"

namespace striate {

/// Row and column.
struct Corner {
  int64_t top = 0, left = 0;
};

/// Rows [top, top + height), columns [left, left + width).
struct Rectangle {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

// All throw ShapeError unless images are (N, C, H, W) and what is given per image or channel is
// of that number, DTypeError for a type that they do not take, DeviceError off the CPU.

/// The rectangle `region` of each image, scaled to `size`, of which the rectangle `window` is
/// returned: (N, C, window.height, window.width). Bilinear. uint8 images are smoothed where they
/// shrink, in fixed point: what Pillow's Image.resize does to the cropped region, bit for bit
/// unless one side shrinks and the other grows, where newer Pillows change the order of the passes
/// and a value may differ by one. float32 images are not smoothed, as in PyTorch's `interpolate`
/// with align_corners=False. Throws ShapeError where a rectangle is empty or does not fit.
Tensor resize_images(const Tensor& images, const Rectangle& region, Size2 size,
                     const Rectangle& window);

/// The rectangle of `size` at the corner given for each image, which `fill` surrounds without end.
Tensor crop_images(const Tensor& images, const std::vector<Corner>& corners, Size2 size,
                   double fill = 0);

/// Left and right exchanged in the images for which `mirrored` is true.
Tensor flip_images(const Tensor& images, const std::vector<bool>& mirrored);

/// Zeros in the rectangle of `size` at the corner given for each image, as far as it lies inside.
Tensor erase_images(const Tensor& images, const std::vector<Corner>& corners, Size2 size);

/// (x * unit - mean) / std as float32, computed as x * unit * (1 / std) + (-mean / std); images are
/// uint8 or float32, mean and std one value or one per channel. Throws ArgumentError unless std is
/// above 0.
Tensor normalize_images(const Tensor& images, const std::vector<double>& mean,
                        const std::vector<double>& std, double unit = 1);

}  // namespace striate
