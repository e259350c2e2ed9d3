// What a Tensor points to.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "striate/autograd.h"
#include "striate/tensor.h"

namespace striate {

/// A block of device memory, shared by all views of it.
struct Storage {
  /// Allocates; throws OutOfMemoryError or DeviceError.
  Storage(size_t bytes, Device device);
  /// Wraps foreign memory.
  Storage(void* data, Device device, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data = nullptr;
  size_t bytes = 0;
  Device device;
  std::shared_ptr<void> owner;  // set for foreign memory
  std::atomic<uint64_t> version{0};
  // Loans to code whose edits do not count as versions: running and returned. Foreign memory is
  // on loan for good.
  std::atomic<int> loans{0};
  std::atomic<uint64_t> returned_loans{0};
};

/// Something derived from a tensor's elements, kept until they change: packed weights, and the
/// conversion to another type with a cache of its own.
struct DerivedCache {
  struct Entry {
    uint64_t key, version;
    std::shared_ptr<Storage> storage;
  };
  std::mutex mutex;
  std::vector<Entry> entries;
  Tensor converted;
  uint64_t converted_version = 0;
};

struct TensorImpl {
  std::shared_ptr<Storage> storage;
  int64_t offset = 0;  // elements
  Dims shape, strides;
  int64_t numel = 0;
  DType dtype = DType::kFloat32;

  // The tape. A non-leaf has a grad_fn; a leaf that requires grad gets an accumulator on first use.
  bool requires_grad = false;
  int output_index = 0;
  std::shared_ptr<Node> grad_fn;
  std::weak_ptr<Node> accumulator;
  std::shared_ptr<TensorImpl> grad;

  std::shared_ptr<DerivedCache> derived;  // created by derived_cache()

  char* data() const {
    return static_cast<char*>(storage->data) + offset * static_cast<int64_t>(item_size(dtype));
  }
};

/// A new tensor over the same storage, off the tape; `offset` counts from the storage's start.
Tensor view(const Tensor& x, const Dims& shape, const Dims& strides, int64_t offset);
/// Row-major or channels-last strides of a shape.
Dims dense_strides(const Dims& shape, MemoryFormat format = MemoryFormat::kContiguous);
/// Marks the elements of x as edited.
void bump_version(const Tensor& x);
/// The tensor's cache, created on first use; safe from several threads.
DerivedCache& derived_cache(const Tensor& x);
/// Reserves `count` values of the default generator's stream, from a multiple of four on.
RngState reserve_random(int64_t count);

}  // namespace striate
