"""Scopes that turn the recording of operations off or on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from striate._core import is_grad_enabled, set_grad_enabled

P = ParamSpec("P")
R = TypeVar("R")


class _GradMode:
    """Usable as ``with no_grad():`` and as ``@no_grad()``; nests, and follows the thread."""

    enabled: bool

    def __enter__(self) -> None:
        self._previous = is_grad_enabled()
        set_grad_enabled(self.enabled)

    def __exit__(self, *exception: object) -> None:
        set_grad_enabled(self._previous)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper


class no_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Operations inside are not recorded, and their results do not require grad."""

    enabled = False


class enable_grad(_GradMode):  # noqa: N801 (PyTorch's name)
    """Records again inside a ``no_grad`` scope."""

    enabled = True
