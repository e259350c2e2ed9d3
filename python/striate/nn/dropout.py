"""Dropout."""

from __future__ import annotations

from striate._core import ArgumentError, Tensor, dropout
from striate.nn.module import Module


class Dropout(Module):
    """While training, zeroes elements with probability p and scales the rest by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: expected a probability in [0, 1], got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
