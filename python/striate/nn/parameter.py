"""The tensors that training changes."""

from __future__ import annotations

from typing import Any

from striate._core import Tensor


class Parameter(Tensor):
    """A leaf tensor that a Module owns; it shares the elements of ``data``."""

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        super().__init__(data.detach())
        self.requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Without the gradient, unlike a tensor's: a copied model has not been differentiated."""
        return Parameter(self.detach().clone(), self.requires_grad)

    def __repr__(self) -> str:
        return f"Parameter({super().__repr__()})"
