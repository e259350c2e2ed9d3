#include "core/backend.h"

namespace striate {

const Backend* find_backend(DeviceType type) {
  if (type == DeviceType::kCPU) return &cpu_backend();
#ifdef STRIATE_WITH_CUDA
  return &cuda_backend();
#else
  return nullptr;
#endif
}

const Backend& backend(Device device) {
  const int count = device_count(device.type);
  if (device.index < 0 || device.index >= count) [[unlikely]] {
    require<DeviceError>(count > 0, "device: ", device,
                         " is not available: ", device_unavailable_reason(device.type));
    fail<DeviceError>("device: expected an index below ", count, ", got ", device);
  }
  return *find_backend(device.type);
}

}  // namespace striate
