// Whether operations are recorded, and the default random generator.
#include "bindings.h"

namespace striate::python {

void bind_autograd(py::module_& m) {
  m.def("is_grad_enabled", &grad_enabled, "Whether operations on this thread are recorded.");
  m.def("set_grad_enabled", &set_grad_enabled, py::arg("enabled"),
        "Turns the recording of operations on this thread on or off.");
  m.def("is_autocast_enabled", &autocast_enabled,
        "Whether operations on this thread convert their operands; see autocast.");
  m.def("set_autocast_enabled", &set_autocast_enabled, py::arg("enabled"),
        "Turns autocast on this thread on or off.");
  m.def(
      "check_autocast", [](DType dtype) { const Autocast scope(dtype, autocast_enabled()); },
      py::arg("dtype"), "Raises DTypeError unless autocast can use the type.");
  m.def(
      "manual_seed",
      [](const py::int_& seed) {
        const uint64_t value = PyLong_AsUnsignedLongLong(seed.ptr());
        if (PyErr_Occurred()) {
          PyErr_Clear();
          fail<ArgumentError>("manual_seed: expected a seed from 0 to 2^64 - 1, got ",
                              py::str(seed).cast<std::string>());
        }
        manual_seed(value);
      },
      py::arg("seed"),
      "Seeds the default generator (Philox4x32-10); the same seed gives the same numbers on every "
      "device. Raises ArgumentError unless 0 <= seed < 2^64.");
  m.def(
      "get_rng_state",
      [] {
        const RngState state = rng_state();
        return std::pair(state.seed, state.offset);
      },
      "The default generator's state: (seed, offset).");
  m.def(
      "set_rng_state",
      [](std::pair<uint64_t, uint64_t> state) { set_rng_state({state.first, state.second}); },
      py::arg("state"), "Restores what get_rng_state() returned.");
}

}  // namespace striate::python
