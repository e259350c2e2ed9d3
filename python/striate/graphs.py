"""Functions whose work is captured once and replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from striate._core import ArgumentError, Graph, ShapeError, Tensor, capturing, empty_like


class graph:  # noqa: N801  # used as a decorator
    """A function of tensors, replayed without the cost of calling its operations.

    The first call runs ``function`` as it is. The second captures what it gives to the device of
    its arguments, as a CUDA graph or, on the CPU, a list of kernel calls; that call and all later
    ones replay it, each with the result that ``function`` would have had, to the bit: random
    numbers go on in the default generator's stream, and optimizers take the learning rate and the
    other options that they have by then.

    ``function`` must do the same work each time. It may train (with ``zero_grad()`` in it), but not
    read an element, as ``item()`` and ``numpy()`` do, nor copy between devices: that raises
    DeviceError. Python code in it does not run in replays. Tensors that it returns, in tuples,
    lists and dicts, are overwritten by the next call.

    A label out of range raises IndexError, on CUDA up to 64 calls later or in ``check()``.

    >>> @st.graph
    ... def step(images, labels):
    ...     optimizer.zero_grad()
    ...     loss = F.cross_entropy(model(images), labels)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._warm = False
        self._graph: Graph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._result: Any = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Runs the function, or replays it.

        Raises ShapeError where the arguments differ from the captured ones in number, shape, type
        or device.
        """
        self._check(inputs)
        if not self._warm or capturing(inputs[0].device):
            result = self._function(*inputs)
            self._warm = True
            return result
        if self._graph is None:
            self._capture(inputs)
        assert self._graph is not None
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given.detach())
        self._graph.replay()
        return self._result

    def check(self) -> None:
        """Waits for the device and raises IndexError if a label was out of range."""
        if self._graph is not None:
            self._graph.check()

    def reset(self) -> None:
        """Forgets the capture; the next call makes another."""
        self._graph, self._inputs, self._result = None, (), None

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        own = tuple(empty_like(x.detach()) for x in inputs)
        result: list[Any] = []
        captured = Graph(inputs[0].device)
        captured.capture(lambda: result.append(self._function(*own)))
        self._graph, self._inputs, self._result = captured, own, _detached(result[0])

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        if not inputs or not all(isinstance(x, Tensor) for x in inputs):
            kinds = ", ".join(type(x).__name__ for x in inputs) or "none"
            raise ArgumentError(f"graph: expected tensors as arguments, got {kinds}")
        if self._graph is None:
            return
        expected, got = _signature(self._inputs), _signature(inputs)
        if expected != got:
            raise ShapeError(
                f"graph: expected arguments as captured, {_text(expected)}, got {_text(got)}; "
                "reset() forgets the capture"
            )


def _signature(inputs: tuple[Tensor, ...]) -> list[tuple[Any, ...]]:
    return [(x.shape, x.dtype, x.device) for x in inputs]


def _text(signatures: list[tuple[Any, ...]]) -> str:
    return ", ".join(f"{dtype} {shape} on {device}" for shape, dtype, device in signatures)


def _detached(result: Any) -> Any:
    if isinstance(result, Tensor):
        return result.detach()
    if isinstance(result, (tuple, list)):
        return type(result)(_detached(x) for x in result)
    if isinstance(result, dict):
        return {key: _detached(x) for key, x in result.items()}
    return result
