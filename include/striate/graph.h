// Graphs: a sequence of operations, captured once and replayed without the cost of calling them.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "striate/tensor.h"
#include "striate/types.h"

namespace striate {

struct Capture;

/// The work that a function gives to a device, to be done again and again on the same memory. On
/// CUDA it becomes a CUDA graph, on the CPU a list of kernel calls. A replay gives the bits that a
/// call of the function would have given: random numbers continue the default generator's stream,
/// and optimizers use the options they have at that time.
///
/// The function must do the same each time, to tensors of the same shapes, and read no element
/// (item(), a copy to another device): that throws DeviceError. Its tensors are at the same
/// addresses at each replay; results are overwritten by the next one. Optimizers must have taken
/// one step before, and must outlive the graph; gradients must start from none (zero_grad()).
class Graph {
 public:
  explicit Graph(Device device);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  /// Calls `function` once, on this thread, and keeps the work without doing it. Throws what it
  /// throws, and is then empty.
  void capture(const std::function<void()>& function);
  /// Does the work; on CUDA returns before it is done. Throws DeviceError before a capture, and
  /// AutogradError where a weight that the graph has packed was edited since (capture again).
  void replay();
  /// Waits, and throws IndexError if a label was out of range in a replay since the last check.
  /// On CUDA, where nobody can look in between, such a label makes the loss NaN, and replay()
  /// checks every 64 times. On the CPU replay() throws at once.
  void check();
  Device device() const { return device_; }

 private:
  Device device_;
  std::unique_ptr<Capture> capture_;
};

/// Whether the calling thread is capturing a graph on this device.
bool capturing(Device device);
/// A float64 tensor of `count` values that is set to `values()` before each replay of the graph
/// that this thread captures on `device`: what an optimizer reads in place of its options.
Tensor replayed_values(Device device, int64_t count, std::function<std::vector<double>()> values);

}  // namespace striate
