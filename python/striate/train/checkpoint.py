"""What a run leaves behind, in the layout of docs/file_format.md."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import striate as st
from striate import models, nn
from striate.train.settings import Settings

CHECKPOINT_VERSION = 1


@dataclass
class Progress:
    """Where a run stands: `step` batches into epoch `epoch`, with that epoch's running sums."""

    epoch: int = 0
    step: int = 0
    images: int = 0
    correct: int = 0
    loss_sum: float = 0.0

    @property
    def loss(self) -> float:
        return self.loss_sum / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.images, 1)


def below(prefix: str, tensors: dict[str, st.Tensor]) -> dict[str, st.Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, st.Tensor], Settings, Progress, dict[str, Any]]:
    """Tensors, settings, progress and the remaining state. Raises FormatError."""
    tensors, metadata = st.load(path, with_metadata=True)
    try:
        state = json.loads(metadata["training"])
        if state["version"] != CHECKPOINT_VERSION:
            raise st.FormatError(
                f"load: {path}: expected checkpoint version {CHECKPOINT_VERSION}, "
                f"got {state['version']}"
            )
        return tensors, Settings(**state["settings"]), Progress(**state["progress"]), state
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise st.FormatError(f"load: {path}: not a training checkpoint: {error!r}") from error


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, Settings]:
    """The trained model in a checkpoint, in eval mode, and the settings it was trained with."""
    tensors, settings, _, _ = read_checkpoint(path)
    model = models.get_model(settings.model)
    model.load_state_dict(below("model.", tensors))
    return model.eval(), settings
