// Pictures before they are tensors of a network.
#include "bindings.h"

namespace striate::python {
namespace {

using Place = std::pair<int64_t, int64_t>;
using Region = std::tuple<int64_t, int64_t, int64_t, int64_t>;

std::vector<Corner> corners_of(const std::vector<Place>& places) {
  std::vector<Corner> corners;
  for (const auto& [top, left] : places) corners.push_back({top, left});
  return corners;
}

Rectangle rectangle(const Region& r) {
  return {std::get<0>(r), std::get<1>(r), std::get<2>(r), std::get<3>(r)};
}

}  // namespace

void bind_image(py::module_& m) {
  m.def(
      "resize_images",
      [](const Tensor& images, const Region& region, Size2 size, const Region& window) {
        return resize_images(images, rectangle(region), size, rectangle(window));
      },
      py::arg("images"), py::arg("region"), py::arg("size"), py::arg("window"), Unlocked(),
      "The region (top, left, height, width) of images (N, C, H, W), scaled to size (height, "
      "width), of which the window (top, left, height, width) is returned.\n\n"
      "Bilinear; uint8 with antialiasing, as Pillow does it, float32 without. Raises ShapeError "
      "where a rectangle does not fit.");
  m.def(
      "crop_images",
      [](const Tensor& images, const std::vector<Place>& corners, Size2 size, double fill) {
        return crop_images(images, corners_of(corners), size, fill);
      },
      py::arg("images"), py::arg("corners"), py::arg("size"), py::arg("fill") = 0, Unlocked(),
      "The rectangle of size (height, width) at the corner (top, left) given for each image "
      "(N, C, H, W), which fill surrounds.");
  m.def("flip_images", &flip_images, py::arg("images"), py::arg("mirrored"), Unlocked(),
        "Images (N, C, H, W), left and right exchanged where mirrored is true.");
  m.def(
      "erase_images",
      [](const Tensor& images, const std::vector<Place>& corners, Size2 size) {
        return erase_images(images, corners_of(corners), size);
      },
      py::arg("images"), py::arg("corners"), py::arg("size"), Unlocked(),
      "Images (N, C, H, W) with zeros in the rectangle of size (height, width) at the corner "
      "(top, left) given for each.");
  m.def(
      "normalize_images", &normalize_images, py::arg("images"), py::arg("mean"), py::arg("std"),
      py::arg("unit") = 1, Unlocked(),
      "(x * unit - mean) / std of uint8 or float32 images (N, C, H, W), per channel, as float32.");
}

}  // namespace striate::python
