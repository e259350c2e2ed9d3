"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from striate._core import SGD_SCALARS, Tensor, sgd_scalars, sgd_step
from striate.optim.optimizer import Optimizer, ParamGroup


class SGD(Optimizer):
    """SGD with momentum and Nesterov's variant, as PyTorch defines them."""

    buffer_names = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def _update(self, group: ParamGroup, state: dict[str, Any]) -> None:
        sgd_step(
            group["params"],
            state["momentum_buffer"] if group["momentum"] else [],
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["weight_decay"],
            group["nesterov"],
            self._scalars(
                group,
                SGD_SCALARS,
                lambda: sgd_scalars(
                    group["lr"], group["momentum"], group["dampening"], group["weight_decay"]
                ),
            ),
        )
