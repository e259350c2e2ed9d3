// Checkpoints.
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
}

}  // namespace striate::python
