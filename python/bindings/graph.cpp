// Graphs, work captured once and replayed, and events to time work.
#include "bindings.h"

namespace striate::python {

void bind_graph(py::module_& m) {
  py::class_<Graph>(m, "Graph",
                    "Work captured once and replayed on the same memory. ``striate.graph`` is the "
                    "comfortable form.")
      .def(py::init<Device>(), py::arg("device"))
      .def(
          "capture",
          [](Graph& graph, const py::typing::Callable<void()>& function) {
            graph.capture([&] { function(); });
          },
          py::arg("function"),
          "Calls ``function`` once and keeps the work that it gives to the device, without doing "
          "it.")
      .def("replay", &Graph::replay, Unlocked(),
           "Does the work. Raises DeviceError before a capture, AutogradError where a weight that "
           "the graph has packed was edited since, IndexError on a label out of range.")
      .def("check", &Graph::check, Unlocked(),
           "Waits, and raises IndexError if a label was out of range since the last check.");
  py::class_<Event>(m, "Event",
                    "A point in a device's work. On the CPU, where work is done when a call "
                    "returns, the time of record().")
      .def(py::init<Device>(), py::arg("device") = "cuda")
      .def("record", &Event::record, Unlocked(), "Marks the work given to the device so far.")
      .def(
          "elapsed_time",
          [](const Event& start, const Event& end) { return end.milliseconds_since(start); },
          py::arg("end"), Unlocked(),
          "Milliseconds from this event to ``end``; waits for both. Raises ArgumentError unless "
          "both were recorded, on one device.");
  m.def("capturing", &capturing, py::arg("device"),
        "Whether this thread is capturing a graph on the device.");
  m.def(
      "replayed_values",
      [](Device device, int64_t count,
         py::typing::Callable<py::typing::List<py::float_>()> values) {
        return replayed_values(device, count, [values = std::move(values)] {
          py::gil_scoped_acquire gil;
          return values().cast<std::vector<double>>();
        });
      },
      py::arg("device"), py::arg("count"), py::arg("values"),
      "A float64 tensor that is set to ``values()`` before each replay of the graph that this "
      "thread captures on the device.");
}

}  // namespace striate::python
