// The structures of the DLPack protocol, versions 0 and 1 (https://dmlc.github.io/dlpack): the
// layout is the interface, the names of the fields are ours to read.
#pragma once

#include <cstdint>

namespace striate::python::dlpack {

inline constexpr int32_t kCpu = 1, kCuda = 2;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };
inline constexpr uint64_t kReadOnly = 1;

struct DeviceId {
  int32_t type, index;
};
struct ElementType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct Array {
  void* data;
  DeviceId device;
  int32_t ndim;
  ElementType type;
  int64_t* shape;
  int64_t* strides;  // in elements; null: row-major
  uint64_t byte_offset;
};

/// What a capsule named "dltensor" holds.
struct Managed {
  static constexpr const char* kName = "dltensor";
  static constexpr const char* kUsedName = "used_dltensor";
  Array array;
  void* context;
  void (*deleter)(Managed*);
};
/// What a capsule named "dltensor_versioned" holds.
struct ManagedVersioned {
  static constexpr const char* kName = "dltensor_versioned";
  static constexpr const char* kUsedName = "used_dltensor_versioned";
  uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  Array array;
};

}  // namespace striate::python::dlpack
