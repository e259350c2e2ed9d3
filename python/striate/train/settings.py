"""What a training run depends on, and the recipes that fill it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import striate as st
from striate.train.datasets import DATASETS, MODELS

SCHEDULES = ("step", "one-cycle")


@dataclass(frozen=True)
class Settings:
    """All that the result of a run depends on besides the data's files and initial weights."""

    model: str
    data: str
    epochs: int
    batch_size: int
    lr: float
    lr_decay: float = 1.0
    """With the schedule "step", the learning rate of epoch e is lr * lr_decay**e."""
    weight_decay: float = 5e-4
    momentum: float = 0.9
    seed: int = 0
    schedule: str = "step"
    """"one-cycle": up to lr in 30 % of the steps and down to almost nothing. (Smith 2018.)"""
    augment: bool = False
    """Random crops of the image in a border of 4, and flips."""
    freeze: str = "none"
    """"backbone" trains the last layer alone, "until=NAME" what follows the child NAME."""

    def __post_init__(self) -> None:
        for name, known in (("model", MODELS), ("data", DATASETS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise st.ArgumentError(
                    f"train: expected {name} of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise st.ArgumentError(
                    f"train: expected {name} of at least {least}, got {getattr(self, name)}"
                )
        if self.freeze not in ("none", "backbone") and not self.freeze.startswith("until="):
            raise st.ArgumentError(
                f"train: expected freeze of none, backbone or until=LAYER, got {self.freeze!r}"
            )
        if self.freeze == "backbone" and self.augment:
            raise st.ArgumentError(
                "train: expected no augmentation with freeze=backbone, whose features are computed "
                "once"
            )


def recipe(model: str, data: str, **overrides: Any) -> Settings:
    """The settings for a model on a data set; the overrides are fields of `Settings`. Those that
    have been measured (docs/training.md) are LeNet's on the grey data sets, ResNet-20's on cifar10.
    """
    for name, value, known in (("model", model, MODELS), ("data", data, DATASETS)):
        if value not in known:
            raise st.ArgumentError(f"train: expected {name} of {', '.join(known)}, got {value!r}")
    return Settings(model=model, data=data, **(DATASETS[data].recipe | overrides))
