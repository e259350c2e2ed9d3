"""Models by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from striate._core import ArgumentError
from striate.nn.module import Module

Builder = TypeVar("Builder", bound=Callable[..., Module])

_builders: dict[str, Callable[..., Module]] = {}
_CIFAR = (3, 32, 32)
_INPUT_SIZES = {
    "lenet1": (1, 28, 28),
    "lenet5": (1, 32, 32),
    **dict.fromkeys(("linear_classifier", "mlp"), _CIFAR),
    **dict.fromkeys(("resnet20", "resnet32", "resnet44", "resnet56", "resnet110"), _CIFAR),
}


def register_model(builder: Builder) -> Builder:
    """Enters a function that builds a model, under its own name. Meant as a decorator."""
    _builders[builder.__name__] = builder
    return builder


def list_models() -> list[str]:
    """The names that get_model() knows."""
    return sorted(_builders)


def input_size(name: str) -> tuple[int, int, int]:
    """Channels, height and width of the images that a model was made for."""
    return _INPUT_SIZES.get(name, (3, 224, 224))


def get_model(name: str, **options: Any) -> Module:
    """A new model by name; the options are those of its function."""
    if name not in _builders:
        raise ArgumentError(f"get_model: expected one of {', '.join(list_models())}, got {name!r}")
    return _builders[name](**options)
