// Checkpoints.
#include <pybind11/stl/filesystem.h>

#include <filesystem>

#include "bindings.h"

namespace striate::python {

void bind_io(py::module_& m) {
  m.def(
      "save",
      [](std::map<std::string, Tensor> tensors, const std::filesystem::path& path,
         Metadata metadata) {
        save(path.string(), {std::move(tensors), std::move(metadata)});
      },
      py::arg("tensors"), py::arg("path"), py::arg("metadata"), Unlocked(),
      "Writes tensors and texts by name as a safetensors file.");
  m.def(
      "load",
      [](const std::filesystem::path& path) {
        Checkpoint checkpoint = load(path.string());
        return std::pair(std::move(checkpoint.tensors), std::move(checkpoint.metadata));
      },
      py::arg("path"), Unlocked(), "The tensors and texts of a safetensors file, by name.");
}

}  // namespace striate::python
