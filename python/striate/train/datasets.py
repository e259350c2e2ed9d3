"""The data sets that `striate train` knows, in the form that each model takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import striate as st
from striate import data
from striate.data import transforms


@dataclass(frozen=True)
class Kind:
    """What a model takes, square images of 1 or 3 channels, and gives."""

    side: int
    channels: int
    log_prob: bool = False
    """Whether it ends in log_softmax."""


MODELS = {
    "lenet1": Kind(28, 1, log_prob=True),
    "lenet5": Kind(32, 1, log_prob=True),
    "resnet20": Kind(32, 3),
    "resnet32": Kind(32, 3),
    "resnet44": Kind(32, 3),
    "resnet56": Kind(32, 3),
    "resnet110": Kind(32, 3),
}
"""The models that can be trained here."""


@dataclass(frozen=True)
class Source:
    """A data set as `striate train` knows it."""

    make: Callable[..., data.ArrayDataset]
    classes: Sequence[str]
    resize: transforms.Resize | None
    """Before the border that makes up the rest of the model's kind."""
    side: int
    """Of the square images, resized."""
    channels: int
    mean: float | Sequence[float]
    std: float | Sequence[float]
    recipe: dict[str, Any]
    """What `Settings` holds where the user does not say otherwise."""


# Mean and deviation are those of the training pixels, from 0 to 1. docs/decisions.md has the
# measurements behind the recipes.
DATASETS = {
    "digits": Source(
        make=data.Digits,
        classes=data.Digits.classes,
        resize=transforms.Resize(20),
        side=20,
        channels=1,
        mean=0.3053,
        std=0.3760,
        recipe={
            "epochs": 20,
            "batch_size": 32,
            "lr": 0.05,
            "lr_decay": 0.85,
            "weight_decay": 2e-3,
        },
    ),
    "mnist": Source(
        make=data.MNIST,
        classes=data.MNIST.classes,
        resize=None,
        side=28,
        channels=1,
        mean=0.1307,
        std=0.3081,
        recipe={
            "epochs": 5,
            "batch_size": 64,
            "lr": 0.04,
            "lr_decay": 0.5,
            "weight_decay": 1e-3,
        },
    ),
    "fashion": Source(
        make=data.FashionMNIST,
        classes=data.FashionMNIST.classes,
        resize=None,
        side=28,
        channels=1,
        mean=0.2860,
        std=0.3530,
        recipe={"epochs": 15, "batch_size": 64, "lr": 0.02, "lr_decay": 0.8},
    ),
    "cifar10": Source(
        make=data.CIFAR10,
        classes=data.CIFAR10.classes,
        resize=None,
        side=32,
        channels=3,
        mean=(0.485, 0.456, 0.406),  # of ImageNet, as published CIFAR weights expect
        std=(0.229, 0.224, 0.225),
        recipe={
            "epochs": 30,
            "batch_size": 128,
            "lr": 0.4,
            "schedule": "one-cycle",
            "augment": True,
        },
    ),
}


def image_transform(model: str, dataset: str, *, augment: bool = False) -> transforms.Compose:
    """From the pixels of a data set to what a model takes. Grey images become three equal
    channels where the model wants colours; the other way round there is nothing sensible to do.
    """
    source, kind = DATASETS[dataset], MODELS[model]
    if source.channels > kind.channels:
        raise st.ArgumentError(
            f"train: expected data of {kind.channels} channel for {model}, got {dataset} with "
            f"{source.channels}"
        )
    random: list[data.dataset.Transform] = [
        transforms.RandomCrop(kind.side, padding=4),
        transforms.RandomHorizontalFlip(),
    ]
    return transforms.Compose(
        [
            *([] if source.resize is None else [source.resize]),
            transforms.Pad((kind.side - source.side) // 2),
            *(random if augment else []),
            *([] if source.channels == kind.channels else [transforms.Repeat(kind.channels)]),
            transforms.ToTensor(),
            transforms.Normalize(source.mean, source.std),
        ]
    )


def load_dataset(
    model: str,
    dataset: str,
    directory: str | os.PathLike[str] | None = None,
    *,
    train: bool,
    augment: bool = False,
) -> data.ArrayDataset:
    """The images that a model learns from, or the ones held out.

    `directory` is where the files are, of all but digits. Without it they are downloaded, once, to
    the user's cache.
    """
    transform = image_transform(model, dataset, augment=augment)
    make = DATASETS[dataset].make
    if dataset == "digits":
        return make(train=train, transform=transform)
    if directory is not None:
        return make(directory, train=train, transform=transform)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "striate", dataset)
    return make(cache, train=train, transform=transform, download=True)
