#include "runtime.h"

#include <pthread.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <sstream>
#include <vector>

#include "check.h"

namespace striate::cuda {
namespace {

std::atomic<bool> forked = false;

struct Probe {
  int count = 0;
  std::string reason;
};

std::string version_text(int version) {  // 13000 is 13.0
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Probe probe_driver() {
  // The static CUDA runtime opens libcuda.so.1 itself, at its first call.
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return {0, "no NVIDIA driver was found (libcuda.so.1)"};
  }
  // From here on the driver counts as initialised, and does not survive a fork.
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return {count, ""};
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    return {0, "the NVIDIA driver supports CUDA " + version_text(driver) +
                   ", older than the CUDA " + version_text(CUDART_VERSION) +
                   " that striate was built with"};
  }
  if (status == cudaSuccess || status == cudaErrorNoDevice) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    if (visible == nullptr) return {0, "no NVIDIA device was found"};
    return {0, std::string("no device is visible (CUDA_VISIBLE_DEVICES='") + visible + "')"};
  }
  return {0, std::string("CUDA reports ") + cudaGetErrorString(status)};
}

const Probe& probe() {
  static const Probe result = probe_driver();
  return result;
}

/// Streams are created at a device's first use, because that costs a context of some 300 MB.
struct Slot {
  std::once_flag once;
  cudaStream_t stream = nullptr;
};

Slot& slot(int index) {
  // Never destroyed: the driver may be gone when the process ends.
  static auto* slots = new std::vector<Slot>(static_cast<size_t>(probe().count));
  return (*slots)[static_cast<size_t>(index)];
}

cudaDeviceProp properties_of(Device device) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device.index), "device");
  return properties;
}

/// Compiled are the code of some architectures and PTX of the oldest, which the driver translates
/// for all others: only devices older than that have nothing to run.
cudaStream_t create_stream(Device device) {
  const cudaDeviceProp properties = properties_of(device);
  require<DeviceError>(properties.major >= 8, "device: expected compute capability 8.0 or newer, ",
                       device, " (", properties.name, ") has ", properties.major, ".",
                       properties.minor);
  cudaStream_t stream;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "device");
  return stream;
}

constexpr const char* kForked =
    "CUDA was initialised before this process was forked; start the child with the 'spawn' method, "
    "or use CUDA in the child alone";

}  // namespace

bool usable() { return !forked; }

int device_count() { return usable() ? probe().count : 0; }

std::string unavailable_reason() {
  if (!usable() && probe().count > 0) return kForked;
  return probe().reason;
}

std::string describe(Device device) {
  const cudaDeviceProp properties = properties_of(device);
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "device");
  std::ostringstream text;
  text << properties.name << ", compute capability " << properties.major << "." << properties.minor
       << (properties.major < 8 ? " (8.0 or newer is needed)" : "") << ", "
       << (properties.totalGlobalMem >> 30) << " GiB, driver for CUDA " << version_text(driver);
  return text.str();
}

cudaStream_t activate(Device device) {
  require<DeviceError>(usable(), "device: ", device, " is not available: ", kForked);
  check(cudaSetDevice(device.index), "device");
  Slot& found = slot(device.index);
  std::call_once(found.once, [&] { found.stream = create_stream(device); });
  return found.stream;
}

cudaStream_t current_stream(Device device) {
  const cudaStream_t stream = activate(device), capture = capture_stream(device);
  return capture ? capture : stream;
}

void synchronize(Device device) { check(cudaStreamSynchronize(activate(device)), "synchronize"); }

}  // namespace striate::cuda
