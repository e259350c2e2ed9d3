"""What a training run depends on, and the recipes that fill it in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import striate as st
from striate.train.datasets import DATASETS, input_shape
from striate.train.kinds import MODELS

SCHEDULES = ("step", "one-cycle", "cosine")
OPTIMIZERS = ("sgd", "adamw")


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
    """Of "sgd", in Nesterov's form."""
    seed: int = 0
    schedule: str = "step"
    """"one-cycle": up to lr in 30 % of the steps and down to almost nothing (Smith 2018); "cosine":
    from lr to 0 in half a cosine (Loshchilov and Hutter 2017)."""
    augment: bool = False
    """Random crops and flips."""
    freeze: str = "none"
    """"backbone" trains the last layer alone, "until=NAME" what follows the child NAME."""
    size: int | None = None
    """The images' side; None: the model's usual one."""
    optimizer: str = "sgd"
    warmup_epochs: float = 0.0
    """Before "cosine", in which the rate rises in a straight line."""
    lr_backbone: float | None = None
    """Learning rate of all but the last layer; None: the same."""
    bias_decay: bool = True
    """Whether weight decay acts on biases and norms as well. (He et al. 2019: better not.)"""
    clip_norm: float | None = None
    """Gradients are scaled down to this norm."""
    label_smoothing: float = 0.0
    mixup: float = 0.0
    """Images are mixed in pairs, with shares from Beta(mixup, mixup). (Zhang et al. 2018.)"""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is then what is evaluated."""
    autocast: str | None = None
    """"bfloat16": products in that type, see `striate.autocast`."""

    def __post_init__(self) -> None:
        for name, known in (
            ("model", MODELS),
            ("data", DATASETS),
            ("schedule", SCHEDULES),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in known:
                raise _wrong(f"{name} of {', '.join(known)}", repr(getattr(self, name)))
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise _wrong(f"{name} of at least {least}", getattr(self, name))
        for name in ("lr", "lr_backbone", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise _wrong(f"{name} above 0", value)
        for name in ("lr_decay", "weight_decay", "momentum", "mixup", "warmup_epochs"):
            if not 0 <= getattr(self, name) < math.inf:
                raise _wrong(f"{name} of at least 0", getattr(self, name))
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise _wrong(f"{name} in [0, 1)", getattr(self, name))
        if self.autocast not in (None, "bfloat16"):
            raise _wrong("autocast of bfloat16 or None", repr(self.autocast))
        input_shape(self.model, self.data, self.size)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.freeze not in ("none", "backbone") and not self.freeze.startswith("until="):
            raise _wrong("freeze of none, backbone or until=LAYER", repr(self.freeze))
        if self.freeze == "backbone" and self.augment:
            raise st.ArgumentError(
                "train: expected no augmentation with freeze=backbone, whose features are computed "
                "once"
            )
        if self.freeze == "backbone" and self.lr_backbone is not None:
            raise st.ArgumentError(
                f"train: expected no lr_backbone with freeze=backbone, got {self.lr_backbone}"
            )
        if self.warmup_epochs and self.schedule != "cosine":
            raise _wrong("schedule cosine with warmup_epochs", repr(self.schedule))
        if self.warmup_epochs >= self.epochs:
            raise _wrong(f"warmup_epochs below the {self.epochs} epochs", self.warmup_epochs)


def _wrong(expected: str, got: object) -> st.ArgumentError:
    return st.ArgumentError(f"train: expected {expected}, got {got}")


def recipe(model: str, data: str, **overrides: Any) -> Settings:
    """The settings for a model on a data set; the overrides are fields of `Settings`. Those that
    have been measured (docs/training.md) are LeNet's on the grey data sets, ResNet-20's on cifar10.
    """
    for name, value, known in (("model", model, MODELS), ("data", data, DATASETS)):
        if value not in known:
            raise _wrong(f"{name} of {', '.join(known)}", repr(value))
    options = dict(DATASETS[data].recipe)
    if (highest := MODELS[model].max_lr) is not None:
        options["lr"] = min(options["lr"], highest)
    if overrides.get("optimizer") == "adamw":  # PyTorch's defaults
        options |= {"lr": 1e-3, "lr_decay": 1.0, "weight_decay": 1e-2}
    if overrides.get("freeze") == "backbone":
        options["augment"] = False
    return Settings(model=model, data=data, **(options | overrides))
