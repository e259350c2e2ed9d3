// Threads, devices and build facts.
#include "bindings.h"

namespace striate::python {

void bind_runtime(py::module_& m) {
  m.def("get_num_threads", &num_threads,
        "Threads that CPU operations use, the caller included. Results do not depend on it.");
  m.def("set_num_threads", &set_num_threads, py::arg("count"), Unlocked(),
        "Sets the number of threads. Raises ArgumentError unless 1 <= count <= 1024.");
  m.def("cpu_isa", &cpu_isa,
        "The instruction set in use: 'avx512', 'avx2' or 'baseline'. ``STRIATE_CPU_ISA`` in the "
        "environment forces one.");
  m.def(
      "measure_peak",
      [](const std::string& peak, double seconds) {
        const std::pair<const char*, Peak> peaks[] = {
            {"multiply_add", Peak::kMultiplyAdd}, {"read", Peak::kRead}, {"triad", Peak::kTriad}};
        for (const auto& [name, value] : peaks) {
          if (peak == name) return unlocked([&] { return measure_peak(value, seconds); });
        }
        fail<ArgumentError>("measure_peak: expected 'multiply_add', 'read' or 'triad', got '", peak,
                            "'");
      },
      py::arg("peak"), py::arg("seconds"),
      "What the CPU's threads reach together: float operations per second in registers "
      "('multiply_add', which counts as two), bytes per second of memory that is only read "
      "('read') or of a = b + s * c ('triad').");
  m.def("winograd_enabled", &winograd_enabled,
        "Whether 3 x 3 and 5 x 5 convolutions may use Winograd's algorithm; see config.winograd.");
  m.def("set_winograd_enabled", &set_winograd_enabled, py::arg("enabled"),
        "Allows or forbids Winograd's algorithm from the next call on.");
  m.def("allow_tf32", &allow_tf32,
        "Whether float32 on CUDA may use TF32 tensor cores; see config.allow_tf32.");
  m.def("set_allow_tf32", &set_allow_tf32, py::arg("allowed"),
        "Allows or forbids TF32 from the next call on.");
  m.def(
      "cuda_device_count", [] { return device_count(DeviceType::kCUDA); }, Unlocked(),
      "CUDA devices that can be used now.");
  m.def(
      "cuda_unavailable_reason", [] { return device_unavailable_reason(DeviceType::kCUDA); },
      Unlocked(), "Why cuda_device_count() is 0; empty when it is not.");
  m.def("device_description", &device_description, py::arg("device"), Unlocked(),
        "What the device is, in words. Raises DeviceError where it is not there.");
  m.def("synchronize", &synchronize, py::arg("device"), Unlocked(),
        "Waits until all work queued on the device is done.");
  m.def("empty_cache", &empty_cache, py::arg("device"), Unlocked(),
        "Returns the memory that the device's allocator caches to the system.");
  m.def(
      "memory_stats",
      [](Device device) {
        const MemoryStats stats = unlocked([&] { return memory_stats(device); });
        py::typing::Dict<py::str, py::int_> result;
        result["allocated_bytes"] = stats.allocated_bytes;
        result["reserved_bytes"] = stats.reserved_bytes;
        result["peak_bytes"] = stats.peak_bytes;
        return result;
      },
      py::arg("device") = "cpu",
      "Bytes in tensors now, held from the system, and in tensors at the peak.");
  m.def("build_info", &build_info,
        "Compiler, build type and backends that were compiled in, one 'key: value' a line.");
  m.attr("__version__") = version();
}

}  // namespace striate::python
