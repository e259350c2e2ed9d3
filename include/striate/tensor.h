// Tensor: a reference-counted handle to a strided view of a storage, with its place on the tape.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "striate/types.h"

namespace striate {

struct TensorImpl;
struct Node;

/// Handle semantics: copying a Tensor shares its elements, as in PyTorch. A default-constructed
/// Tensor is undefined and stands for "none". Logical order is NCHW; convolution and pooling
/// store their results channels-last.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

  bool defined() const { return impl_ != nullptr; }
  const Dims& shape() const;
  const Dims& strides() const;  ///< in elements
  int dim() const { return shape().size(); }
  int64_t size(int d) const;  ///< negative d counts from the end; throws IndexError
  int64_t numel() const;
  DType dtype() const;
  Device device() const;

  /// First element. The pointer lives as long as any tensor on the same storage.
  void* data() const;
  template <class T>
  T* data() const {
    return static_cast<T*>(data());
  }
  /// The single element as a double. Throws ShapeError unless numel() == 1; waits for the device.
  double item() const;

  bool is_contiguous(MemoryFormat format = MemoryFormat::kContiguous) const;
  /// True if the elements fill one block without gaps or overlap, in any order.
  bool is_dense() const;

  // The tape.
  bool requires_grad() const;
  /// Marks a leaf. Throws AutogradError on a non-leaf, DTypeError unless floating point.
  const Tensor& set_requires_grad(bool value) const;
  bool is_leaf() const;
  Tensor grad() const;  ///< undefined until a backward pass reaches this leaf
  void set_grad(const Tensor& grad) const;
  const std::shared_ptr<Node>& grad_fn() const;
  /// Adds d(this)/d(leaf) to the grad of every leaf; all of them, or none if it throws.
  /// `grad` has this tensor's shape and may be left out for one element.
  void backward(const Tensor& grad = {}, bool retain_graph = false) const;
  /// The same elements, off the tape.
  Tensor detach() const;
  /// Lends the elements to code that may edit them unseen. While the token lives, nothing derived
  /// from them (packed weights) is kept; afterwards it is derived anew.
  std::shared_ptr<void> lend() const;
  /// Number of in-place edits of the storage so far; parameter caches are keyed on it.
  uint64_t version() const;

  TensorImpl& impl() const { return *impl_; }
  const std::shared_ptr<TensorImpl>& impl_ptr() const { return impl_; }

 private:
  std::shared_ptr<TensorImpl> impl_;
};

struct TensorOptions {
  DType dtype = DType::kFloat32;
  Device device = {};
  bool requires_grad = false;
};

// Creation. All throw ShapeError on a negative or overflowing shape, OutOfMemoryError when the
// device has no room, DeviceError when the device is not there.
Tensor empty(const Dims& shape, const TensorOptions& options = {},
             MemoryFormat format = MemoryFormat::kContiguous);
/// Uninitialised, with the memory order of `like` where that is dense.
Tensor empty_like(const Tensor& like);
Tensor empty_like(const Tensor& like, DType dtype);
Tensor zeros(const Dims& shape, const TensorOptions& options = {});
Tensor zeros_like(const Tensor& like);
Tensor ones(const Dims& shape, const TensorOptions& options = {});
Tensor full(const Dims& shape, double value, const TensorOptions& options = {});
Tensor arange(double start, double end, double step, const TensorOptions& options = {});
/// Uniform in [0, 1) and standard normal, from the default generator; same numbers on any device.
Tensor rand(const Dims& shape, const TensorOptions& options = {});
Tensor randn(const Dims& shape, const TensorOptions& options = {});
/// Wraps memory that `owner` keeps alive. No copy; strides in elements.
Tensor from_memory(void* data, const Dims& shape, const Dims& strides, DType dtype, Device device,
                   std::shared_ptr<void> owner);
/// Copies host values in row-major order.
template <class T>
Tensor from_values(std::span<const T> values, const Dims& shape, bool requires_grad = false);

/// Seeds the default generator; the same seed gives the same numbers on every device.
void manual_seed(uint64_t seed);
struct RngState {
  uint64_t seed = 0;
  uint64_t offset = 0;
};
RngState rng_state();
void set_rng_state(RngState state);

}  // namespace striate
