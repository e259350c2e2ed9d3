// Checkpoints, and pictures before they are tensors of a network.
#include "bindings.h"

namespace striate::python {

void bind_io(py::module_& m) {
  m.def(
      "save",
      [](std::map<std::string, Tensor> tensors, const std::string& path, Metadata metadata) {
        save(path, {std::move(tensors), std::move(metadata)});
      },
      py::arg("tensors"), py::arg("path"), py::arg("metadata"), Unlocked(),
      "Writes tensors and texts by name as a safetensors file.");
  m.def(
      "load",
      [](const std::string& path) {
        Checkpoint checkpoint = load(path);
        return std::pair(std::move(checkpoint.tensors), std::move(checkpoint.metadata));
      },
      py::arg("path"), Unlocked(), "The tensors and texts of a safetensors file, by name.");
  m.def("read_into", &read_into, py::arg("target"), py::arg("file"), py::arg("offset"), Unlocked(),
        "Fills a contiguous tensor with the bytes of an open file (its descriptor) from an offset "
        "on, and returns their CRC-32.\n\n"
        "Raises FormatError if the file ends before.");
  using Corners = std::tuple<int64_t, int64_t, int64_t, int64_t>;
  m.def(
      "resize_image",
      [](const Tensor& image, const Corners& region, const std::pair<int64_t, int64_t>& size,
         const Corners& window) {
        const auto rectangle = [](const Corners& c) {
          return Rectangle{std::get<0>(c), std::get<1>(c), std::get<2>(c), std::get<3>(c)};
        };
        return resize_image(image, rectangle(region), {size.first, size.second}, rectangle(window));
      },
      py::arg("image"), py::arg("region"), py::arg("size"), py::arg("window"), Unlocked(),
      "The region (top, left, height, width) of a uint8 image (C, H, W), scaled to size (height, "
      "width), of which the window (top, left, height, width) is returned.\n\n"
      "Bilinear with antialiasing, as Pillow does it. Raises ShapeError where a rectangle does "
      "not fit.");
}

}  // namespace striate::python
