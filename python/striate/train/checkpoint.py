"""What a run leaves behind, in the layout of docs/file_format.md."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import striate as st
from striate import nn
from striate.train.datasets import DATASETS, input_shape
from striate.train.kinds import build
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
    lr: float = 0.0
    """Of the head, at the latest step."""

    @property
    def loss(self) -> float:
        return self.loss_sum / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.images, 1)


@dataclass(frozen=True)
class Checkpoint:
    """A file that `Trainer.save` wrote."""

    tensors: dict[str, st.Tensor]
    settings: Settings
    progress: Progress
    classes: Sequence[str]
    state: dict[str, Any]
    """All of the metadata ``training``."""

    def model(self) -> nn.Module:
        """The trained model, or the average of its weights if there is one, in eval mode."""
        settings = self.settings
        shape = input_shape(settings.model, settings.data, settings.size)
        model = build(settings.model, len(self.classes), shape)
        model.load_state_dict(below("ema.", self.tensors) or below("model.", self.tensors))
        return model.eval()


def below(prefix: str, tensors: dict[str, st.Tensor]) -> dict[str, st.Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Raises FormatError if the file is damaged, or something else."""
    tensors, metadata = st.load(path, with_metadata=True)
    try:
        state = json.loads(metadata["training"])
        if state["version"] != CHECKPOINT_VERSION:
            raise st.FormatError(
                f"load: {path}: expected checkpoint version {CHECKPOINT_VERSION}, "
                f"got {state['version']}"
            )
        settings, progress = Settings(**state["settings"]), Progress(**state["progress"])
        classes = state.get("classes") or known_classes(settings.data)
        return Checkpoint(tensors, settings, progress, classes, state)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise st.FormatError(f"load: {path}: not a training checkpoint: {error!r}") from error


def known_classes(dataset: str) -> Sequence[str]:
    """The classes of a data set that is the same everywhere."""
    classes: Sequence[str] | None = getattr(DATASETS[dataset], "classes", None)
    if classes is None:
        raise st.ArgumentError(f"train: expected the names of the classes of {dataset}, got none")
    return list(classes)


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, Settings]:
    """The trained model in a checkpoint, in eval mode, and the settings it was trained with."""
    checkpoint = read_checkpoint(path)
    return checkpoint.model(), checkpoint.settings
