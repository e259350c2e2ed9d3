"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from striate._core import ADAM_SCALARS, Tensor, adam_scalars, adam_step
from striate.optim.optimizer import Optimizer, ParamGroup


class Adam(Optimizer):
    """Kingma and Ba 2015, with bias correction; ``weight_decay`` is added to the gradient."""

    buffer_names = ("exp_avg", "exp_avg_sq")
    counts_steps = True
    decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def _update(self, group: ParamGroup, state: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        steps = state["step"]
        by_count: dict[int, list[int]] = {}
        for i, parameter in enumerate(group["params"]):
            if parameter.grad is not None:
                by_count.setdefault(steps[i], []).append(i)
        # One call, unless some parameters went without a gradient in earlier steps.
        for count, chosen in (by_count or {0: []}).items():
            advance = self._advance(group, steps, chosen)
            scalars = self._scalars(group, ADAM_SCALARS, advance) if chosen else None
            means, squares = ([state[name][i] for i in chosen] for name in self.buffer_names)
            adam_step(
                [group["params"][i] for i in chosen],
                means,
                squares,
                count + 1,
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                self.decoupled,
                scalars,
            )
            if scalars is not None:  # the replays count
                continue
            for i, mean, square in zip(chosen, means, squares, strict=True):
                state["exp_avg"][i], state["exp_avg_sq"][i], steps[i] = mean, square, count + 1

    @staticmethod
    def _advance(
        group: ParamGroup, steps: list[int], chosen: list[int]
    ) -> Callable[[], list[float]]:
        """A function that counts a step of the chosen parameters and returns its scalars."""

        def values() -> list[float]:
            count = steps[chosen[0]] + 1
            beta1, beta2 = group["betas"]
            scalars = adam_scalars(
                count, group["lr"], beta1, beta2, group["eps"], group["weight_decay"]
            )
            for i in chosen:
                steps[i] = count
            return scalars

        return values


class AdamW(Adam):
    """Adam whose weight decay acts on the weights directly. (Loshchilov and Hutter 2019.)"""

    decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
