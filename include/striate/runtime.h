// What the library is running on: threads, instruction set, devices.
#pragma once

#include <chrono>
#include <string>

#include "striate/types.h"

namespace striate {

/// Threads that CPU kernels use, the caller included. Results do not depend on it.
int num_threads();
/// Throws ArgumentError unless 1 <= count <= 1024.
void set_num_threads(int count);

/// "avx512", "avx2" or "baseline": the best the machine has, or what STRIATE_CPU_ISA forces.
const char* cpu_isa();

/// Whether 3 x 3 and 5 x 5 convolutions of stride 1 may use Winograd's algorithm (default: yes). It
/// is two to three times as fast; its relative L2 error stays below 1e-5 (direct: 1e-6), and it
/// spreads a NaN or infinity of an input pixel over the outputs of its tiles.
bool winograd_enabled();
void set_winograd_enabled(bool enabled);

/// Whether float32 convolutions and matrix products on CUDA may round their operands to TF32 for
/// the tensor cores (default: no). Relative L2 error 1e-3 at most, against 1e-6.
bool allow_tf32();
void set_allow_tf32(bool allowed);

/// What bounds the CPU's kernels: arithmetic in registers, reading memory, or a = b + s * c in it.
enum class Peak { kMultiplyAdd, kRead, kTriad };
/// The rate that all threads reach together, in float operations or bytes per second (a triad moves
/// three values; what a cache fetches to overwrite does not count). Takes about `seconds`.
double measure_peak(Peak peak, double seconds);

/// Devices of a kind that can be used now.
int device_count(DeviceType type);
/// Why device_count is 0; empty when it is not.
std::string device_unavailable_reason(DeviceType type);
/// What the device is, in words. Throws DeviceError where it is not there.
std::string device_description(Device device);
/// Waits until all work queued on the device is done.
void synchronize(Device device);
/// Returns the blocks that the device's allocator caches to the system.
void empty_cache(Device device);

struct MemoryStats {
  int64_t allocated_bytes = 0;  ///< in tensors now
  int64_t reserved_bytes = 0;   ///< held from the system, in tensors or cached
  int64_t peak_bytes = 0;       ///< largest allocated_bytes so far
};
MemoryStats memory_stats(Device device);

/// The CUDA stream of a device's work, for libraries that share it; null on the CPU.
void* stream_handle(Device device);
/// What another library's stream gets from now on waits for the device's work so far.
void release_to_stream(Device device, void* stream);
/// The device's work from now on waits for what another library's stream was given so far.
void wait_for_stream(Device device, void* stream);

/// A point in a device's work, to measure time between two. On the CPU, where work is done when a
/// call returns, the time of record().
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record();
  /// Milliseconds from `start` to this; waits for both. Throws ArgumentError unless both were
  /// recorded, on one device.
  double milliseconds_since(const Event& start) const;

 private:
  Device device_;
  void* handle_ = nullptr;
  std::chrono::steady_clock::time_point time_;
  bool recorded_ = false;
};

/// "0.1.0".
const char* version();
/// Compiler, build type and backends that were compiled in, one "key: value" a line.
std::string build_info();

}  // namespace striate
