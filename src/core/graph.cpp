#include "striate/graph.h"

#include <array>
#include <utility>

#include "core/backend.h"
#include "core/capture.h"

namespace striate {
namespace {

thread_local Capture* current = nullptr;

/// Replays between looks at the label checks, each of which waits for the device.
constexpr uint64_t kReplaysPerCheck = 64;

template <class T>
void write(const Tensor& target, const T* values, size_t count) {
  backend(target.device())
      .transfer(target.data(), target.device(), values, Device{}, count * sizeof(T));
}

Tensor int64s(const Dims& shape, Device device) {
  const Tensor x = empty(shape, {DType::kInt64, device});
  const std::array<int64_t, 2> zeros = {};
  write(x, zeros.data(), static_cast<size_t>(x.numel()));
  return x;
}

/// Lets a replay draw the values that come next in the default generator's stream.
void place_random(const Capture& capture) {
  if (capture.random_count == 0) return;
  RngState state = rng_state();
  const std::array<uint64_t, 2> base = {state.seed, (state.offset + 3) / 4 * 4};
  write(capture.random_base, base.data(), base.size());
  state.offset = base[1] + capture.random_count;
  set_rng_state(state);
}

void check_assumptions(const Capture& capture) {
  for (const auto& [storage, version] : capture.assumed) {
    require<AutogradError>(storage->version.load() + storage->returned_loans.load() == version,
                           "graph: expected a weight as it was at the capture, which the graph has "
                           "packed, but it was edited since; capture again");
  }
}

/// Ends the capture of this thread however its scope is left.
struct CaptureScope {
  explicit CaptureScope(Capture& capture) : capture(capture) {
    const Backend& target = backend(capture.device);
    if (target.begin_capture) target.begin_capture(capture.device);
    current = &capture;
  }
  ~CaptureScope() {
    if (current) abandon();
  }
  void finish() {
    current = nullptr;
    const Backend& target = backend(capture.device);
    if (target.end_capture) capture.graph = target.end_capture(capture.device);
  }
  void abandon() {
    current = nullptr;
    try {
      const Backend& target = backend(capture.device);
      if (target.end_capture) target.destroy_graph(target.end_capture(capture.device));
    } catch (const Error&) {  // the exception that is under way says more
    }
  }
  Capture& capture;
};

}  // namespace

Capture* current_capture(Device device) {
  return current && current->device == device ? current : nullptr;
}

bool capturing(Device device) { return current_capture(device) != nullptr; }

void check_not_capturing(const char* op, Device device, const char* what) {
  require<DeviceError>(!capturing(device), op, ": ", what, " on ", device,
                       " is not possible while a graph is captured there, since nothing is "
                       "computed yet; move it out of the function");
}

Tensor replayed_values(Device device, int64_t count, std::function<std::vector<double>()> values) {
  Capture* capture = current_capture(device);
  require<ArgumentError>(capture != nullptr, "replayed_values: expected a capture on ", device);
  // Not in the arena, whose blocks the work before the reader would write to.
  const Tensor target = [&] {
    struct Suspend {
      Capture* suspended = std::exchange(current, nullptr);
      ~Suspend() { current = suspended; }
    } suspend;
    return empty({count}, {DType::kFloat64, device});
  }();
  capture->hooks.push_back([target, values = std::move(values)] {
    const std::vector<double> now = values();
    write(target, now.data(), now.size());
  });
  return target;
}

std::vector<std::function<void()>>* captured_calls(Device device) {
  Capture* capture = current_capture(device);
  return capture && !backend(device).begin_capture ? &capture->calls : nullptr;
}

void Capture::keep(const std::shared_ptr<Storage>& storage) {
  if (storage->arena != arena) kept.insert(storage);
}

Capture::~Capture() {
  if (graph) find_backend(device.type)->destroy_graph(graph);
}

Graph::Graph(Device device) : device_(device) { backend(device); }
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::capture(const std::function<void()>& function) {
  require<ArgumentError>(current == nullptr,
                         "graph: expected no other capture on this thread, got one");
  capture_.reset();
  auto capture = std::make_unique<Capture>();
  capture->device = device_;
  capture->arena = std::make_shared<Arena>(device_);
  capture->random_base = int64s({2}, device_);
  capture->bad_labels = int64s({}, device_);
  {
    CaptureScope scope(*capture);
    function();
    scope.finish();
  }
  for (const auto& [storage, version] : capture->assumed) {
    require<AutogradError>(!capture->edited.contains(storage),
                           "graph: expected a weight that the graph edits to take part with its "
                           "gradient only, but it is also used without one");
  }
  capture_ = std::move(capture);
}

void Graph::replay() {
  require<DeviceError>(capture_ != nullptr, "graph: expected a capture before a replay");
  check_not_capturing("graph", device_, "a replay");
  Capture& capture = *capture_;
  check_assumptions(capture);
  if (++capture.replays % kReplaysPerCheck == 0) check();
  for (const auto& hook : capture.hooks) hook();
  place_random(capture);
  for (const auto& storage : capture.edited) storage->version.fetch_add(1);
  for (const auto& call : capture.calls) call();
  if (capture.graph) backend(device_).replay(capture.graph, device_);
}

void Graph::check() {
  if (!capture_ || capture_->checks.empty()) return;
  const double bad = capture_->bad_labels.item();
  if (bad == 0) return;
  const int64_t zero = 0;
  write(capture_->bad_labels, &zero, 1);
  fail<IndexError>(capture_->checks.front(), ", got others in recent replays of a graph");
}

}  // namespace striate
