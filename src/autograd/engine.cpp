// The backward pass: walk the tape once to check and order it, run its nodes from the newest to
// the oldest, then commit the gradients of all leaves. Nothing recurses, however deep the net.
#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "autograd/leaf.h"
#include "core/capture.h"
#include "striate/autocast.h"
#include "striate/ops.h"

namespace striate {
namespace {

std::mutex commit_mutex;  // two threads may run backward passes that end at the same leaves

struct Tape {
  std::vector<Node*> nodes;  // newest first: a node comes after all that consume its outputs
  std::vector<Leaf*> leaves;
  std::unordered_map<const Node*, TensorList> grads;  // of each node's outputs, summed so far
};

Tape walk(Node* root) {
  Tape tape;
  std::vector<Node*> stack{root};
  tape.grads[root].resize(root->outputs);
  while (!stack.empty()) {
    Node* node = stack.back();
    stack.pop_back();
    if (auto* leaf = dynamic_cast<Leaf*>(node)) {
      tape.leaves.push_back(leaf);
      continue;
    }
    require<AutogradError>(!node->released, node->name(),
                           ": backward through this graph a second time; its saved tensors were "
                           "freed (pass retain_graph=True the first time)");
    tape.nodes.push_back(node);
    for (const Edge& edge : node->next) {
      if (!edge.node) continue;
      const auto [entry, is_new] = tape.grads.try_emplace(edge.node.get());
      if (!is_new) continue;
      entry->second.resize(edge.node->outputs);
      stack.push_back(edge.node.get());
    }
  }
  std::sort(tape.nodes.begin(), tape.nodes.end(),
            [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
  return tape;
}

void check_matches(const char* op, const Tensor& grad, const Tensor& x) {
  require<ShapeError>(grad.shape() == x.shape(), op, ": expected a gradient of shape ", x.shape(),
                      ", got ", grad.shape());
  require<DTypeError>(grad.dtype() == x.dtype(), op, ": expected a gradient of type ", x.dtype(),
                      ", got ", grad.dtype());
  require<DeviceError>(grad.device() == x.device(), op, ": expected a gradient on ", x.device(),
                       ", got ", grad.device());
}

/// The sums that wait at the producers of a node's inputs, which are without them until deliver().
TensorList take_sums(const Node& node, Tape& tape) {
  TensorList sums(node.next.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const Edge& edge = node.next[i];
    if (edge.node) sums[i] = std::exchange(tape.grads.at(edge.node.get())[edge.index], Tensor());
  }
  return sums;
}

/// Returns those sums that the node has left, and adds what it returned for its inputs.
void deliver(const Node& node, const TensorList& grad_inputs, const TensorList& sums, Tape& tape) {
  require<AutogradError>(grad_inputs.size() == node.next.size(), node.name(),
                         ": expected its backward to return ", node.next.size(), " gradients, got ",
                         grad_inputs.size());
  for (size_t i = 0; i < node.next.size(); ++i) {
    const Edge& edge = node.next[i];
    const Tensor& grad = grad_inputs[i];
    if (!edge.node) continue;
    Tensor& sum = tape.grads.at(edge.node.get())[edge.index];
    if (sums[i].defined()) sum = sums[i];
    if (!grad.defined()) continue;
    if (sum.defined()) check_matches(node.name(), grad, sum);
    if (const auto* leaf = dynamic_cast<const Leaf*>(edge.node.get())) {
      check_matches(node.name(), grad, leaf->tensor);
    }
    sum = sum.defined() ? add(sum, grad) : grad;
  }
}

/// The gradient that `leaf` will have: in the memory order that empty_like gives the leaf, so that
/// an optimizer walks both alike, and sharing memory with nothing else.
Tensor accumulated(const Tensor& leaf, Tensor&& incoming) {
  const Tensor existing = leaf.grad();
  Tensor grad = existing.defined() ? add(existing, incoming) : std::move(incoming);
  incoming = Tensor();
  const auto matches = [&](MemoryFormat format) {
    return leaf.is_contiguous(format) && grad.is_contiguous(format);
  };
  if (is_unshared(grad) && grad.is_dense() &&
      (matches(MemoryFormat::kContiguous) || matches(MemoryFormat::kChannelsLast) ||
       grad.strides() == leaf.strides())) {
    return grad;
  }
  const Tensor copy = empty_like(leaf);
  copy_(copy, grad);
  return copy;
}

/// A replay adds to the gradient that was there at the capture, not to that of the last replay.
void check_replayable(const Tensor& leaf) {
  Capture* capture = current_capture(leaf.device());
  if (!capture || !leaf.grad().defined()) return;
  const std::shared_ptr<Storage>& storage = leaf.grad().impl().storage;
  require<AutogradError>(storage->arena == capture->arena || capture->edited.contains(storage),
                         "backward: expected gradients that start from none while a graph is "
                         "captured; call zero_grad() in the function");
}

void commit(Tape& tape) {
  std::lock_guard lock(commit_mutex);
  std::vector<std::pair<const Tensor*, Tensor>> ready;
  for (const Leaf* leaf : tape.leaves) {
    Tensor& grad = tape.grads.at(leaf)[0];
    if (grad.defined()) {
      check_replayable(leaf->tensor);
      ready.emplace_back(&leaf->tensor, accumulated(leaf->tensor, std::move(grad)));
    }
  }
  for (const auto& [leaf, grad] : ready) leaf->impl().grad = grad.impl_ptr();  // cannot throw
}

}  // namespace

void backward(const Tensor& root, const Tensor& grad, bool retain_graph) {
  require<AutogradError>(root.requires_grad(),
                         "backward: expected a tensor that requires grad, got one that does not");
  const NoGrad guard;
  const Autocast as_recorded(DType::kBFloat16, false);
  if (Capture* capture = current_capture(root.device())) capture->backward = true;
  Tensor seed = grad;
  if (seed.defined()) {
    check_matches("backward", seed, root);
  } else {
    require<ShapeError>(root.numel() == 1, "backward: expected grad for a tensor of shape ",
                        root.shape(), "; it may be left out for one element only");
    seed = ones(root.shape(), {.dtype = root.dtype(), .device = root.device()});
  }

  const Edge start = gradient_edge(root);
  Tape tape = walk(start.node.get());
  tape.grads.at(start.node.get())[start.index] = std::move(seed);
  for (Node* node : tape.nodes) {
    const TensorList grad_outputs = std::move(tape.grads.at(node));
    const bool reached = std::any_of(grad_outputs.begin(), grad_outputs.end(),
                                     [](const Tensor& g) { return g.defined(); });
    if (reached) {
      TensorList sums = take_sums(*node, tape);
      const TensorList grad_inputs = node->backward_onto(grad_outputs, sums);
      deliver(*node, grad_inputs, sums, tape);
    }
    if (!retain_graph) {
      node->release();
      node->released = true;
    }
  }
  commit(tape);
}

void Tensor::backward(const Tensor& grad, bool retain_graph) const {
  striate::backward(*this, grad, retain_graph);
}

}  // namespace striate
