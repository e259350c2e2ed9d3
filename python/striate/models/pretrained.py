"""Weights for a new model: published ones by name, or a file of them."""

from __future__ import annotations

import os
from typing import TypeVar

from striate._core import ShapeError
from striate.checkpoint import load_checkpoint
from striate.nn.module import Module
from striate.weights import resolve

AnyModule = TypeVar("AnyModule", bound=Module)
Weights = str | os.PathLike[str] | None

_COUNTER = "num_batches_tracked"


def load_weights(model: AnyModule, weights: Weights) -> AnyModule:
    """Loads a checkpoint, by path or by a name of ``striate.weights.WEIGHTS``, all or nothing;
    None leaves the model as it was initialised.
    """
    if weights is None:
        return model
    path = resolve(weights)
    # Files from before torch 0.4.1 lack batch norm's counters, on which no output depends.
    counters = {
        name: value for name, value in model.state_dict().items() if name.endswith(_COUNTER)
    }
    try:
        model.load_state_dict(counters | load_checkpoint(path))
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from None
    return model
