"""Mixed precision as a scope."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from striate._core import DType, bfloat16, check_autocast, is_autocast_enabled, set_autocast_enabled

P = ParamSpec("P")
R = TypeVar("R")


class autocast:  # noqa: N801 (PyTorch's name)
    """Products in bfloat16, the rest in the precision that it needs.

    Usable as ``with autocast("bfloat16"):`` and as ``@autocast("bfloat16")``; nests, and follows
    the thread. Convolutions, linear layers and matrix products inside take float32 operands as
    bfloat16, with sums in float32; softmax, losses, sums and means take bfloat16 as float32.
    Parameters and their gradients stay float32. Call ``backward()`` outside.

    ``enabled=False`` turns it off inside another scope. Raises DTypeError on other types.
    """

    def __init__(self, dtype: str | DType = bfloat16, enabled: bool = True) -> None:
        check_autocast(dtype)
        self.enabled = enabled
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(is_autocast_enabled())
        set_autocast_enabled(self.enabled)

    def __exit__(self, *exception: object) -> None:
        set_autocast_enabled(self._previous.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with type(self)(enabled=self.enabled):
                return function(*args, **kwargs)

        return wrapper
