// Pictures on their way into a tensor: uint8, on the CPU, planes [channel][row][column].
#pragma once

#include "striate/tensor.h"

namespace striate {

/// Rows [top, top + height), columns [left, left + width).
struct Rectangle {
  int64_t top = 0, left = 0, height = 0, width = 0;
};

/// The rectangle `region` of `image` (C, H, W), scaled to `size`, of which the rectangle `window`
/// is returned: (C, window.height, window.width). Bilinear, with the filter widened where the
/// picture shrinks, in fixed point: what Pillow's Image.resize does to the cropped region, bit for
/// bit unless one side shrinks and the other grows, where newer Pillows change the order of the
/// passes and a value may differ by one. Throws DTypeError unless uint8, ShapeError where a
/// rectangle is empty or does not fit.
Tensor resize_image(const Tensor& image, const Rectangle& region, Size2 size,
                    const Rectangle& window);

}  // namespace striate
