"""Finds the tensors by name in what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from striate._core import FormatError
from striate.checkpoint.tensors import View, quote

T = TypeVar("T")

# What training scripts call the model's state beside epochs, optimizers and scores.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PARALLEL_PREFIX = "module."  # of nn.DataParallel and DistributedDataParallel


def find_views(content: object) -> dict[str, View]:
    """The tensors of a state_dict, bare or wrapped; whatever else is beside them is left out."""
    for _ in _WRAPPERS:
        if not isinstance(content, dict):
            raise FormatError(f"expected a dictionary of tensors, got {quote(content)}")
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
        if not inner:
            break
        content = inner[0]
    assert isinstance(content, dict)
    views = {name: value for name, value in content.items() if isinstance(value, View)}
    if content and not views:
        raise FormatError(
            f"expected tensors by name, or a dictionary of them under {', '.join(_WRAPPERS)}; got "
            + ", ".join(quote(str(key)) for key in list(content)[:8])
        )
    for name in views:
        if not isinstance(name, str):
            raise FormatError(f"expected tensors by name, got one by the number {name}")
    return views


def strip_parallel_prefix(tensors: Mapping[str, T]) -> dict[str, T]:
    """Takes ``module.`` off the names if all begin with it."""
    if not all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        return dict(tensors)
    return {name.removeprefix(_PARALLEL_PREFIX): value for name, value in tensors.items()}
