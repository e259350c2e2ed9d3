"""What the optimizers share: parameter groups and their state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from striate._core import (
    ArgumentError,
    ShapeError,
    Tensor,
    capturing,
    replayed_values,
    tensor,
)
from striate.grad_mode import enable_grad

ParamGroup = dict[str, Any]


class Optimizer:
    """Holds groups of parameters: dicts of ``params`` and the options that apply to them.

    A subclass names its per-parameter buffers in ``buffer_names`` and updates one group at a time;
    the arithmetic is one call into the core.
    """

    buffer_names: tuple[str, ...] = ()
    counts_steps = False

    def __init__(
        self, params: Iterable[Tensor] | Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]
    ) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[ParamGroup] = []
        # By group: for each buffer name, and for the steps taken, a list beside its parameters.
        self._state: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{type(self).__name__}: expected parameters, got none")
        if all(isinstance(group, Mapping) for group in groups):
            for group in groups:
                self.add_param_group(group)  # type: ignore[arg-type]
        else:
            self.add_param_group({"params": groups})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Adds parameters with options of their own; the defaults fill in the rest."""
        tensors = group["params"]
        tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        known = {id(p) for other in self.param_groups for p in other["params"]}
        for parameter in tensors:
            if not isinstance(parameter, Tensor) or not parameter.is_leaf:
                raise ArgumentError(
                    f"{type(self).__name__}: expected leaf tensors as parameters, got "
                    f"{type(parameter).__name__}"
                )
            if id(parameter) in known:
                raise ArgumentError(f"{type(self).__name__}: a parameter appears twice")
            known.add(id(parameter))
        complete = {**self.defaults, **group, "params": tensors}
        self._check(complete)
        self.param_groups.append(complete)
        self._state.append(self._new_state(len(tensors)))

    def _new_state(self, count: int) -> dict[str, Any]:
        return {**{name: [None] * count for name in self.buffer_names}, "step": [0] * count}

    def _check(self, group: ParamGroup) -> None:
        """Raises ArgumentError on an option outside its domain."""
        self._update({**group, "params": []}, self._new_state(0))

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Updates every parameter that has a gradient; ``closure`` computes the loss first."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if len(self.param_groups) > 1:  # all of them before any weight changes
            for group in self.param_groups:
                self._check(group)
        for group, state in zip(self.param_groups, self._state, strict=True):
            self._update(group, state)
        return loss

    def _scalars(
        self, group: ParamGroup, count: int, values: Callable[[], list[float]]
    ) -> Tensor | None:
        """While a graph is captured on the parameters' device: a tensor there that holds
        ``values()``, ``count`` of them, at each replay. None otherwise.
        """
        device = group["params"][0].device if group["params"] else None
        if device is None or not capturing(device):
            return None
        return replayed_values(device, count, values)

    def _update(self, group: ParamGroup, state: dict[str, Any]) -> None:
        """Checks the options of one group and takes a step on its parameters, if any."""
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients, or sets them to zero."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()

    def state_dict(self) -> dict[str, Any]:
        """The state in PyTorch's layout: buffers by parameter number, and the groups' options."""
        state: dict[int, dict[str, Any]] = {}
        groups = []
        first = 0
        for group, buffers in zip(self.param_groups, self._state, strict=True):
            numbers = list(range(first, first + len(group["params"])))
            first += len(numbers)
            groups.append({**group, "params": numbers})
            for position, number in enumerate(numbers):
                entry = {
                    name: buffers[name][position]
                    for name in self.buffer_names
                    if buffers[name][position] is not None
                }
                if entry and self.counts_steps:
                    entry["step"] = tensor(buffers["step"][position])
                if entry:
                    state[number] = entry
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what state_dict() returned. Raises ShapeError, and loads nothing, if it does
        not fit the parameters.
        """
        name = type(self).__name__
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in state_dict["param_groups"]]
        if sizes != saved_sizes:
            raise ShapeError(
                f"{name}.load_state_dict: expected groups of {sizes} parameters, got {saved_sizes}"
            )
        saved_state = {int(number): entry for number, entry in state_dict["state"].items()}
        new_state = []
        first = 0
        for group in self.param_groups:
            state: dict[str, Any] = {buffer: [] for buffer in self.buffer_names}
            state["step"] = []
            for number, parameter in enumerate(group["params"], first):
                entry = saved_state.get(number, {})
                state["step"].append(int(entry.get("step", 0)))
                for buffer in self.buffer_names:
                    saved = entry.get(buffer)
                    if saved is not None and saved.shape != parameter.shape:
                        raise ShapeError(
                            f"{name}.load_state_dict: {buffer} of parameter {number}: expected "
                            f"shape {parameter.shape}, got {saved.shape}"
                        )
                    state[buffer].append(None if saved is None else _like(saved, parameter))
            first += len(group["params"])
            new_state.append(state)
        self._state = new_state
        for group, saved_group in zip(self.param_groups, state_dict["param_groups"], strict=True):
            options = {key: value for key, value in saved_group.items() if key != "params"}
            group.update(copy.deepcopy(options))


def _like(buffer: Tensor, parameter: Tensor) -> Tensor:
    """A copy of a buffer with the parameter's type, device and memory order."""
    channels_last = parameter.ndim == 4 and not parameter.is_contiguous()
    return buffer.detach().to(parameter.dtype, parameter.device).contiguous(channels_last).clone()
