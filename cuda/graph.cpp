// Graphs. A capture has a stream of its own, so that other threads go on using the device's.
#include "check.h"
#include "runtime.h"

namespace striate::cuda {
namespace {

struct CaptureState {
  Device device;
  cudaStream_t stream = nullptr;
};
thread_local CaptureState state;

}  // namespace

cudaStream_t capture_stream(Device device) {
  return state.stream && state.device == device ? state.stream : nullptr;
}

void begin_capture(Device device) {
  activate(device);
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "graph");
  // Relaxed: the arena asks the driver for memory in between.
  const cudaError_t status = cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
  if (status != cudaSuccess) cudaStreamDestroy(stream);
  check(status, "graph");
  state = {device, stream};
}

void* end_capture(Device device) {
  activate(device);
  const cudaStream_t stream = state.stream;
  state = {};
  cudaGraph_t graph = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream, &graph);
  cudaStreamDestroy(stream);
  check(status, "graph");
  cudaGraphExec_t executable = nullptr;
  status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "graph");
  return executable;
}

void replay(void* graph, Device device) {
  last_kernel = "graph";
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), activate(device)), "graph");
}

void destroy_graph(void* graph) {
  if (graph && usable()) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace striate::cuda
