#include <algorithm>
#include <atomic>
#include <mutex>

#include "autograd/leaf.h"
#include "core/tensor_impl.h"

namespace striate {
namespace {

thread_local bool recording = true;
std::atomic<uint64_t> next_sequence{0};
std::mutex accumulator_mutex;  // threads that share a model meet at its leaves

using Nodes = std::vector<std::shared_ptr<Node>>;
thread_local Nodes* doomed = nullptr;  // nodes that the outermost ~Node on this thread will drop

template <class Inputs>
bool any_requires_grad(const Inputs& inputs) {
  return recording && std::any_of(inputs.begin(), inputs.end(),
                                  [](const Tensor& x) { return x.defined() && x.requires_grad(); });
}

}  // namespace

bool grad_enabled() { return recording; }
void set_grad_enabled(bool enabled) { recording = enabled; }

Node::Node() : sequence(next_sequence.fetch_add(1, std::memory_order_relaxed)) {}

/// Dropping the last reference to a long chain must not recurse: inner calls only hand their
/// edges to the outermost one.
Node::~Node() {
  Nodes own;
  const bool outermost = doomed == nullptr;
  if (outermost) doomed = &own;
  for (Edge& edge : next) {
    if (edge.node) doomed->push_back(std::move(edge.node));
  }
  if (!outermost) return;
  while (!own.empty()) {
    const std::shared_ptr<Node> node = std::move(own.back());
    own.pop_back();
  }
  doomed = nullptr;
}

SavedTensor::SavedTensor(const Tensor& tensor) {
  if (!tensor.defined()) return;
  tensor_ = tensor.detach();  // a node that held its own output would never be freed
  version_ = tensor.version();
}

const Tensor& SavedTensor::get(const Node& node) const {
  if (tensor_.defined()) {
    const uint64_t now = tensor_.version();
    require<AutogradError>(now == version_, node.name(), ": a tensor of shape ", tensor_.shape(),
                           " saved for backward was edited in place afterwards: expected version ",
                           version_, ", got ", now);
  }
  return tensor_;
}

bool needs_grad(std::initializer_list<Tensor> inputs) { return any_requires_grad(inputs); }
bool needs_grad(const TensorList& inputs) { return any_requires_grad(inputs); }

Edge gradient_edge(const Tensor& x) {
  TensorImpl& impl = x.impl();
  if (impl.grad_fn) return {impl.grad_fn, impl.output_index};
  std::lock_guard lock(accumulator_mutex);
  std::shared_ptr<Node> leaf = impl.accumulator.lock();
  if (!leaf) {
    leaf = std::make_shared<Leaf>(x.impl_ptr());
    impl.accumulator = leaf;
  }
  return {std::move(leaf), 0};
}

void record(const std::shared_ptr<Node>& node, const TensorList& inputs,
            std::initializer_list<Tensor> outputs) {
  node->next.reserve(inputs.size());
  for (const Tensor& x : inputs) {
    node->next.push_back(x.defined() && x.requires_grad() ? gradient_edge(x) : Edge{});
  }
  node->outputs = static_cast<int>(outputs.size());
  int index = 0;
  for (const Tensor& y : outputs) {
    if (y.defined()) {
      TensorImpl& impl = y.impl();
      impl.requires_grad = true;
      impl.grad_fn = node;
      impl.output_index = index;
    }
    ++index;
  }
}

}  // namespace striate
