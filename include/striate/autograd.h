// The tape: one Node per recorded operation, linked from outputs to inputs; first order only.
#pragma once

#include <atomic>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "striate/tensor.h"

namespace striate {

using TensorList = std::vector<Tensor>;

/// Where a gradient goes: input `index` of `node`; a null node means "not needed".
struct Edge {
  std::shared_ptr<Node> node;
  int index = 0;
};

/// A recorded operation. Subclasses live beneath their forward in src/ops and hold SavedTensors.
struct Node {
  Node();
  virtual ~Node();
  /// The operation's public name, as error messages print it.
  virtual const char* name() const = 0;
  /// Gradients of the inputs from those of the outputs (an undefined entry is zero).
  /// Runs under NoGrad; may return undefined where needs_input(i) is false.
  virtual TensorList backward(const TensorList& grad_outputs) = 0;
  /// The same, given the sums of what later operations returned for each input (undefined: none).
  /// A node that adds one of them to its own gradient resets that entry.
  virtual TensorList backward_onto(const TensorList& grad_outputs, TensorList& sums) {
    static_cast<void>(sums);
    return backward(grad_outputs);
  }
  /// Frees what was saved; a later backward throws AutogradError.
  virtual void release() = 0;

  bool needs_input(int i) const { return next[i].node != nullptr; }

  const uint64_t sequence;  ///< creation order; a consumer's is always larger than its inputs'
  std::vector<Edge> next;
  int outputs = 1;
  bool released = false;
};

/// A tensor kept for backward, guarded against in-place edits by its version.
class SavedTensor {
 public:
  SavedTensor() = default;
  explicit SavedTensor(const Tensor& tensor);
  /// The tensor as it was saved. Throws AutogradError, naming the op, if it was edited since.
  const Tensor& get(const Node& node) const;
  void reset() { tensor_ = Tensor(); }

 private:
  Tensor tensor_;
  uint64_t version_ = 0;
};

/// Whether operations on this thread are recorded.
bool grad_enabled();
void set_grad_enabled(bool enabled);

/// Turns recording off (or on) for a scope.
class GradMode {
 public:
  explicit GradMode(bool enabled) : previous_(grad_enabled()) { set_grad_enabled(enabled); }
  ~GradMode() { set_grad_enabled(previous_); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

/// True if recording is on and any defined input requires a gradient.
bool needs_grad(std::initializer_list<Tensor> inputs);
bool needs_grad(const TensorList& inputs);
/// Links `node` between `inputs` and its outputs; undefined inputs get no edge.
void record(const std::shared_ptr<Node>& node, const TensorList& inputs,
            std::initializer_list<Tensor> outputs);

/// Runs the tape backwards from `root`. See Tensor::backward.
void backward(const Tensor& root, const Tensor& grad, bool retain_graph);

}  // namespace striate
