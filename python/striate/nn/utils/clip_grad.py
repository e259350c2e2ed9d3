"""Gradient clipping. (Pascanu, Mikolov, Bengio 2013.)"""

from __future__ import annotations

import math
from collections.abc import Iterable

from striate._core import ArgumentError, AutogradError, Tensor, stack, tensor
from striate.grad_mode import no_grad

_EPSILON = 1e-6  # PyTorch's


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scales all gradients by one factor, in place, so that the norm of their norms is at most
    ``max_norm``; returns what it was. Parameters without a gradient do not count.

    ``norm_type`` is any number above 0, or infinity for the largest magnitude. Parameters must be
    on one device. With ``error_if_nonfinite`` a norm that is NaN or infinite raises, and changes
    nothing; without it such a norm makes the gradients NaN or zero, as in PyTorch.
    """
    if not max_norm >= 0:
        raise ArgumentError(f"clip_grad_norm_: expected max_norm of at least 0, got {max_norm}")
    if not norm_type > 0:
        raise ArgumentError(f"clip_grad_norm_: expected norm_type above 0, got {norm_type}")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return tensor(0.0)
    with no_grad():
        norms = [_norm(gradient, norm_type) for gradient in gradients]
        total = _norm(stack(norms), norm_type)
        value = total.item()
        if error_if_nonfinite and not math.isfinite(value):
            raise AutogradError(f"clip_grad_norm_: expected finite gradients, got norm {value}")
        factor = max_norm / (value + _EPSILON)
        if not factor >= 1:
            for gradient in gradients:
                gradient.mul_(factor)
    return total


def _norm(values: Tensor, order: float) -> Tensor:
    if values.numel() == 0:
        return values.sum()
    if order == math.inf:
        return values.abs().flatten().max(0)[0]
    if order == 2.0:
        return (values * values).sum().sqrt()
    return (values.abs() ** order).sum() ** (1 / order)
