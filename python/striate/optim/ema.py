"""Moving averages of weights. (Polyak and Juditsky 1992; Tarvainen and Valpola 2017.)"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from striate._core import ArgumentError, ShapeError, Tensor
from striate.grad_mode import no_grad
from striate.nn.module import Module


class EMA:
    """A copy of a model, ``module``, in evaluation mode, whose parameters follow the model's:
    average += (1 - decay) * (parameter - average), once per `update_parameters`. Buffers, such as
    batch norm's statistics, are the model's latest.

    The decay of update n is at most (1 + n) / (10 + n), or the weights that the model began with
    would stay in the average of a short run.
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"EMA: expected decay in [0, 1), got {decay}")
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(model).eval().requires_grad_(False)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's parameters in; call it after the optimizer's step."""
        averages, parameters = dict(self.module.named_parameters()), dict(model.named_parameters())
        if averages.keys() != parameters.keys():
            raise ShapeError("EMA: expected the model that the average was made from, got another")
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        with no_grad():
            for name, average in averages.items():
                average.add_((parameters[name].detach() - average) * (1 - decay))
            for mine, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.copy_(buffer)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what state_dict() returned. Raises ShapeError, and loads nothing, on misfits."""
        module: Mapping[str, Tensor] = state_dict["module"]
        self.module.load_state_dict(module)
        self.updates = int(state_dict["updates"])
