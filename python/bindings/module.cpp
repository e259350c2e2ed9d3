// The module striate._core.
#include "bindings.h"

PYBIND11_MODULE(_core, m) {
  using namespace striate::python;
  m.doc() = "Striate's core: tensors, operations, the tape, optimizer steps and checkpoints.";
  bind_errors(m);
  bind_types(m);
  TensorClass tensor(m, "Tensor",
                     "A strided, typed array on a device, with its place on the tape.\n\n"
                     "``Tensor(other)`` is another handle on the same elements.");
  bind_runtime(m);
  bind_autograd(m);
  bind_tensor(tensor);
  bind_tensor_operators(tensor);
  bind_tensor_methods(tensor);
  bind_tensor_edits(tensor);
  bind_indexing(tensor);
  bind_numpy(m, tensor);
  bind_dlpack(m, tensor);
  bind_creation(m);
  bind_ops(m);
  bind_nn_ops(m);
  bind_losses(m);
  bind_optim(m);
  bind_graph(m);
  bind_io(m);
  bind_image(m);
}
