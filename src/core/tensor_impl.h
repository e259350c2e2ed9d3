// What a Tensor points to.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "core/storage.h"
#include "striate/autograd.h"
#include "striate/tensor.h"

namespace striate {

/// What was derived from a tensor's elements and is kept until they change; see ops/derived.h, and
/// ops/row_moments.h for what a convolution leaves to a batch norm.
struct DerivedCache {
  struct Entry {
    uint64_t key, version;
    Tensor value;  // undefined where it was not kept the first time
  };
  std::mutex mutex;
  std::vector<Entry> entries;
  struct {
    std::shared_ptr<Storage> storage;
    int64_t chunk_rows = 0;
    uint64_t version = 0;
  } moments;
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
/// A stretch of the default generator's stream; `base` is for the kernels' Args.
struct RandomStretch {
  uint64_t seed = 0, offset = 0;
  const uint64_t* base = nullptr;
};
/// Reserves `count` values from a multiple of four on.
RandomStretch reserve_random(Device device, int64_t count);

/// Whether nobody else has the tensor or sees its memory, which may then be written or given away.
inline bool is_unshared(const Tensor& x) {
  const std::shared_ptr<Storage>& storage = x.impl().storage;
  return x.impl_ptr().use_count() == 1 && storage.use_count() == 1 && !storage->owner;
}

}  // namespace striate
