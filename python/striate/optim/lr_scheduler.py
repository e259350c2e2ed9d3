"""Learning-rate schedules with PyTorch's values, each a function of the step count."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from striate._core import ArgumentError
from striate.optim.optimizer import Optimizer, ParamGroup


class LRScheduler:
    """Sets the groups' learning rates at construction and after every ``step()``."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._apply()

    def lr(self, base: float, step: int) -> float:
        """The learning rate, after ``step`` steps, of a group that starts from ``base``."""
        raise NotImplementedError

    def _apply(self) -> None:
        rates = [self.lr(base, self.last_epoch) for base in self.base_lrs]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def step(self) -> None:
        """Moves on by one; call it after the optimizer's step (or epoch)."""
        self.last_epoch += 1
        try:
            self._apply()
        except ArgumentError:
            self.last_epoch -= 1
            raise

    def get_last_lr(self) -> list[float]:
        """The learning rates in force."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the constructor's arguments."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what state_dict() returned, and the learning rates with it."""
        self.last_epoch = int(state_dict["last_epoch"])
        self.base_lrs = list(state_dict["base_lrs"])
        self._apply()


class LambdaLR(LRScheduler):
    """The initial rate times a function of the step count, or one function per group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        count = len(optimizer.param_groups)
        self.lr_lambdas = [lr_lambda] * count if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(f"LambdaLR: expected {count} functions, got {len(self.lr_lambdas)}")
        super().__init__(optimizer)

    def _apply(self) -> None:
        for group, base, function in zip(
            self.optimizer.param_groups, self.base_lrs, self.lr_lambdas, strict=True
        ):
            group["lr"] = base * function(self.last_epoch)


class StepLR(LRScheduler):
    """Multiplies the rate by ``gamma`` every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ArgumentError(f"StepLR: expected a step_size of at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer)

    def lr(self, base: float, step: int) -> float:
        return base * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiplies the rate by ``gamma`` at each of the ``milestones``."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer)

    def lr(self, base: float, step: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, step)


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to ``eta_min`` over ``T_max`` steps, and back.
    (Loshchilov and Hutter 2017, without restarts.)
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR: expected T_max of at least 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def lr(self, base: float, step: int) -> float:
        return (
            self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2
        )


class LinearLR(LRScheduler):
    """The initial rate times a factor that goes from ``start_factor`` to ``end_factor`` in a
    straight line over ``total_iters`` steps, and stays there: a warm-up.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ArgumentError(
                "LinearLR: expected start_factor in (0, 1] and end_factor in [0, 1], got "
                f"{start_factor} and {end_factor}"
            )
        if total_iters < 1:
            raise ArgumentError(f"LinearLR: expected total_iters of at least 1, got {total_iters}")
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def lr(self, base: float, step: int) -> float:
        share = min(step, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class SequentialLR(LRScheduler):
    """One schedule after another, each from its own beginning: the next takes over at each of the
    ``milestones``, of which there is one fewer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                "SequentialLR: expected schedulers and one milestone fewer, got "
                f"{len(schedulers)} and {len(milestones)}"
            )
        if list(milestones) != sorted(milestones):
            raise ArgumentError(
                f"SequentialLR: expected milestones in order, got {list(milestones)}"
            )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ArgumentError("SequentialLR: expected schedulers of the same optimizer")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def _apply(self) -> None:
        number = bisect.bisect_right(self.milestones, self.last_epoch)
        current = self.schedulers[number]
        current.last_epoch = self.last_epoch - (self.milestones[number - 1] if number else 0)
        current._apply()

    def state_dict(self) -> dict[str, Any]:
        states = [scheduler.state_dict() for scheduler in self.schedulers]
        return {**super().state_dict(), "schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(state_dict)


class OneCycleLR(LRScheduler):
    """Up to ``max_lr`` and down to almost nothing, with momentum the other way round.
    (Smith and Topin 2019.) Takes one step per batch, ``total_steps`` in all.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError(
                    "OneCycleLR: expected total_steps, or epochs with steps_per_epoch"
                )
            total_steps = epochs * steps_per_epoch
        if total_steps < 1:
            raise ArgumentError(
                f"OneCycleLR: expected total_steps of at least 1, got {total_steps}"
            )
        if not 0 <= pct_start <= 1:
            raise ArgumentError(f"OneCycleLR: expected pct_start in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(
                f"OneCycleLR: expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}"
            )
        groups = optimizer.param_groups
        if cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            raise ArgumentError("OneCycleLR: cycle_momentum needs an optimizer with momentum")
        peaks = [max_lr] * len(groups) if isinstance(max_lr, (int, float)) else list(max_lr)
        if len(peaks) != len(groups):
            raise ArgumentError(f"OneCycleLR: expected {len(groups)} max_lr, got {len(peaks)}")
        self.rates = [
            {"start": peak / div_factor, "peak": peak, "last": peak / div_factor / final_div_factor}
            for peak in peaks
        ]
        for group, rates in zip(groups, self.rates, strict=True):
            group["initial_lr"] = rates["start"]
        self.total_steps = total_steps
        self.anneal = _cosine if anneal_strategy == "cos" else _straight
        self.cycle_momentum = cycle_momentum

        # Each phase: its last step, then the rates and momenta between which it moves.
        low, high = base_momentum, max_momentum
        top = pct_start * total_steps - 1
        final = total_steps - 1.0
        self.phases = [(top, "start", "peak", high, low)]
        if three_phase:
            self.phases += [(2 * top, "peak", "start", low, high)]
            self.phases += [(final, "start", "last", high, high)]
        else:
            self.phases += [(final, "peak", "last", low, high)]
        super().__init__(optimizer)

    def _apply(self) -> None:
        step = self.last_epoch
        if step > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: expected at most {self.total_steps} steps, got {step}"
            )
        ends = [phase[0] for phase in self.phases]
        number = min(bisect.bisect_left(ends, step), len(ends) - 1)
        end, rate_from, rate_to, momentum_from, momentum_to = self.phases[number]
        start = ends[number - 1] if number else 0.0
        share = (step - start) / (end - start) if end != start else 1.0
        for group, rates in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = self.anneal(rates[rate_from], rates[rate_to], share)
            if self.cycle_momentum:
                _set_momentum(group, self.anneal(momentum_from, momentum_to, share))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _straight(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _set_momentum(group: ParamGroup, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    else:
        group["momentum"] = momentum
