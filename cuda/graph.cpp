// Graphs. A capture has a stream of its own, so that other threads go on using the device's.
#include <memory>
#include <utility>
#include <vector>

#include "check.h"
#include "runtime.h"

namespace striate::cuda {
namespace {

struct Block {
  void* data;
  size_t bytes;
  bool free;
};

/// A graph and the scratch memory that its kernels use at each replay.
struct Graph {
  explicit Graph(Device device) : device(device) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (executable && usable()) cudaGraphExecDestroy(executable);
    for (const Block& block : scratch) deallocate(block.data, block.bytes, device);
  }

  Device device;
  cudaGraphExec_t executable = nullptr;
  std::vector<Block> scratch;
};

struct CaptureState {
  std::unique_ptr<Graph> graph;
  cudaStream_t stream = nullptr;
};
thread_local CaptureState state;

}  // namespace

cudaStream_t capture_stream(Device device) {
  return state.graph && state.graph->device == device ? state.stream : nullptr;
}

void* allocate_scratch(size_t bytes, Device device) {
  if (!capture_stream(device)) return allocate(bytes, device);
  // What the stream runs later may have what ran before: one block serves call after call.
  for (Block& block : state.graph->scratch) {
    if (block.free && block.bytes >= bytes) {
      block.free = false;
      return block.data;
    }
  }
  void* data = allocate(bytes, device);
  if (data) state.graph->scratch.push_back({data, bytes, false});
  return data;
}

void deallocate_scratch(void* data, size_t bytes, Device device) {
  if (!capture_stream(device)) return deallocate(data, bytes, device);
  for (Block& block : state.graph->scratch) {
    if (block.data == data) block.free = true;
  }
}

void begin_capture(Device device) {
  activate(device);
  auto graph = std::make_unique<Graph>(device);
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "graph");
  // Relaxed: the arena asks the driver for memory in between.
  const cudaError_t status = cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  if (status != cudaSuccess) cudaStreamDestroy(stream);
  check(status, "graph");
  state = {std::move(graph), stream};
}

void* end_capture(Device device) {
  activate(device);
  CaptureState ended = std::exchange(state, {});
  cudaGraph_t graph = nullptr;
  cudaError_t status = cudaStreamEndCapture(ended.stream, &graph);
  cudaStreamDestroy(ended.stream);
  check(status, "graph");
  status = cudaGraphInstantiate(&ended.graph->executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "graph");
  return ended.graph.release();
}

void replay(void* graph, Device device) {
  last_kernel = "graph";
  check(cudaGraphLaunch(static_cast<Graph*>(graph)->executable, activate(device)), "graph");
}

void destroy_graph(void* graph) { delete static_cast<Graph*>(graph); }

}  // namespace striate::cuda
