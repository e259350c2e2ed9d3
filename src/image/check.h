// What every function on pictures asks of them.
#pragma once

#include "striate/image.h"

namespace striate {

inline void check_images(const char* op, const Tensor& images) {
  require<ArgumentError>(images.defined(), op, ": expected images, got none");
  require<ShapeError>(images.dim() == 4, op, ": expected images (N, C, H, W), got shape ",
                      images.shape());
  require<DeviceError>(images.device().type == DeviceType::kCPU, op,
                       ": expected images on cpu, got ", images.device());
}

inline void check_uint8_or_float32(const char* op, const Tensor& images) {
  require<DTypeError>(images.dtype() == DType::kUInt8 || images.dtype() == DType::kFloat32, op,
                      ": expected images of uint8 or float32, got ", images.dtype());
}

/// `count` things `what`, one for each image.
inline void check_per_image(const char* op, const char* what, size_t count, const Tensor& images) {
  require<ShapeError>(static_cast<int64_t>(count) == images.size(0), op, ": expected ",
                      images.size(0), " ", what, ", one for each image, got ", count);
}

}  // namespace striate
