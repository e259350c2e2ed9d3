"""Models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from striate._core import ArgumentError
from striate.nn.module import Module

Builder = TypeVar("Builder", bound=Callable[..., Module])

_builders: dict[str, Callable[..., Module]] = {}


def register_model(builder: Builder) -> Builder:
    """Enters a function that builds a model, under its own name. Meant as a decorator."""
    _builders[builder.__name__] = builder
    return builder


def list_models() -> list[str]:
    """The names that get_model() knows."""
    return sorted(_builders)


def get_model(name: str, **options: Any) -> Module:
    """A new model by name; the options are those of its function."""
    if name not in _builders:
        raise ArgumentError(f"get_model: expected one of {', '.join(list_models())}, got {name!r}")
    return _builders[name](**options)
