// The device's stream beside those of other libraries, and events to time it.
#include "check.h"
#include "runtime.h"

namespace striate::cuda {

void order(Device device, cudaStream_t stream, cudaStream_t waiter) {
  if (stream == waiter) return;
  check(cudaSetDevice(device.index), "stream");  // an event belongs to the device of its stream
  cudaEvent_t event;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "stream");
  cudaError_t status = cudaEventRecord(event, stream);
  if (status == cudaSuccess) status = cudaStreamWaitEvent(waiter, event, 0);
  cudaEventDestroy(event);  // takes effect once the event has been reached
  check(status, "stream");
}

void release_to(Device device, void* stream) {
  order(device, activate(device), static_cast<cudaStream_t>(stream));
}

void wait_for(Device device, void* stream) {
  order(device, static_cast<cudaStream_t>(stream), activate(device));
}

void* create_event(Device device) {
  activate(device);
  cudaEvent_t event;
  check(cudaEventCreate(&event), "event");
  return event;
}

void record_event(void* event, Device device) {
  check(cudaEventRecord(static_cast<cudaEvent_t>(event), activate(device)), "event");
}

double elapsed_ms(void* start, void* end, Device device) {
  activate(device);
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(end)), "event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start),
                             static_cast<cudaEvent_t>(end)),
        "event");
  return milliseconds;
}

void destroy_event(void* event) {
  if (event && usable()) cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

}  // namespace striate::cuda
