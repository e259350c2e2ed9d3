// Services of the CUDA backend: devices, one stream each, memory and copies.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "striate/runtime.h"
#include "striate/types.h"

namespace striate::cuda {

/// Devices that the driver shows; 0 without a driver, which is looked for at the first call.
int device_count();
/// Why device_count() is 0; empty otherwise.
std::string unavailable_reason();
/// Name, compute capability, memory and driver of a device; also of one that is too old to use.
std::string describe(Device device);
/// False in a child forked after CUDA was initialised: there no CUDA call may be made.
bool usable();
/// Makes `device` the calling thread's own and returns the stream that all its work runs on, which
/// does not wait for the legacy default stream. Throws DeviceError where the device is unusable.
cudaStream_t activate(Device device);
/// As above, but the stream of a capture where the calling thread is in one: for kernels.
cudaStream_t current_stream(Device device);
void synchronize(Device device);

/// Null when the device has no room, not even after its cache was given back.
void* allocate(size_t bytes, Device device);
/// Keeps the block for later. Reuse is safe at once: all work of a device is in one stream's order.
void deallocate(void* data, size_t bytes, Device device);
/// The same for memory between two kernels of one call; in a capture it is the graph's.
void* allocate_scratch(size_t bytes, Device device);
void deallocate_scratch(void* data, size_t bytes, Device device);
void empty_cache(Device device);
MemoryStats memory_stats(Device device);

/// Copies between host and device or devices; returns when the host side is free.
void transfer(void* target, Device target_device, const void* source, Device source_device,
              size_t bytes);

// Streams and events: stream.cpp.

/// What `waiter` gets from now on waits for what `stream`, of `device`, was given so far.
void order(Device device, cudaStream_t stream, cudaStream_t waiter);
/// What `stream`, another library's, gets from now on waits for this device's work so far.
void release_to(Device device, void* stream);
/// This device's work from now on waits for what `stream`, another library's, was given so far.
void wait_for(Device device, void* stream);
void* create_event(Device device);
void record_event(void* event, Device device);
double elapsed_ms(void* start, void* end, Device device);
void destroy_event(void* event);

// Graphs: graph.cpp.

/// The calling thread's capture on `device`, or null.
cudaStream_t capture_stream(Device device);
void begin_capture(Device device);
void* end_capture(Device device);
void replay(void* graph, Device device);
void destroy_graph(void* graph);

}  // namespace striate::cuda
