"""The data sets that `striate train` knows, in the form that each model takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import striate as st
from striate import data
from striate.data import transforms
from striate.train.folder import load_folder
from striate.train.kinds import MODELS, check_size

Directory = str | os.PathLike[str] | None


class ImageData(data.Dataset, Protocol):
    """Images with labels that number ``classes``."""

    @property
    def classes(self) -> Sequence[str]: ...


class Source(Protocol):
    """A data set as `striate train` knows it."""

    @property
    def side(self) -> int:
        """Of its square images, in a model that takes any."""

    @property
    def channels(self) -> int: ...

    @property
    def recipe(self) -> dict[str, Any]:
        """What `Settings` holds where the user does not say otherwise."""

    def transform(self, shape: tuple[int, int, int], augment: bool) -> transforms.Compose:
        """From its pixels to what a model of this input shape takes."""

    def load(self, directory: Directory, train: bool, transform: transforms.Compose) -> ImageData:
        """The images to learn from, or the ones held out."""


@dataclass(frozen=True)
class ArraySource:
    """A known data set of small images of one size. They are surrounded with a border up to
    ``_CANVAS``, and enlarged for models that take more.
    """

    make: Callable[..., data.ArrayDataset]
    classes: Sequence[str]
    resize: transforms.Resize | None
    """Before the border."""
    side: int
    """Resized."""
    channels: int
    mean: float | Sequence[float]
    std: float | Sequence[float]
    recipe: dict[str, Any]
    mirrored: bool = True
    """Whether a mirrored image is of the same class."""

    _CANVAS = 32

    def transform(self, shape: tuple[int, int, int], augment: bool) -> transforms.Compose:
        channels, side, _ = shape
        canvas = min(max(side, self.side), max(self._CANVAS, self.side))
        steps: list[data.dataset.Transform] = [] if self.resize is None else [self.resize]
        steps.append(transforms.Pad((canvas - self.side) // 2))
        if augment:
            steps.append(transforms.RandomCrop(canvas, padding=4))
        if augment and self.mirrored:
            steps.append(transforms.RandomHorizontalFlip())
        if side != canvas:
            steps.append(transforms.Resize((side, side)))
        if channels != self.channels:
            steps.append(transforms.Repeat(channels))
        steps += [transforms.ToTensor(), transforms.Normalize(self.mean, self.std)]
        return transforms.Compose(steps)

    def load(self, directory: Directory, train: bool, transform: transforms.Compose) -> ImageData:
        if self.make is data.Digits:
            return self.make(train=train, transform=transform)
        if directory is not None:
            try:
                return self.make(directory, train=train, transform=transform)
            except data.DataNotFoundError as error:
                raise data.DataNotFoundError(f"{error}, as leaving out --data-dir does") from error
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(home, "striate", self.make.__name__.lower())
        return self.make(cache, train=train, transform=transform, download=True)


@dataclass(frozen=True)
class FolderSource:
    """The user's own photographs, with the transforms that published ImageNet weights expect."""

    side: int = 32
    channels: int = 3
    recipe: dict[str, Any] = field(
        default_factory=lambda: {
            "epochs": 30,
            "batch_size": 32,
            "lr": 0.02,
            "weight_decay": 1e-4,
            "schedule": "cosine",
            "augment": True,
        }
    )

    def transform(self, shape: tuple[int, int, int], augment: bool) -> transforms.Compose:
        side = shape[1]
        if augment:
            return transforms.imagenet_train(side)
        return transforms.imagenet_eval(side, resize=round(side * 256 / 224))

    def load(self, directory: Directory, train: bool, transform: transforms.Compose) -> ImageData:
        if directory is None:
            raise st.ArgumentError(
                "folder: expected the directory of the images (--data-dir), got none"
            )
        return load_folder(directory, train=train, transform=transform)


# Mean and deviation are those of the training pixels, from 0 to 1. docs/decisions.md has the
# measurements behind the recipes.
DATASETS: dict[str, Source] = {
    "digits": ArraySource(
        make=data.Digits,
        classes=data.Digits.classes,
        resize=transforms.Resize(20),
        side=20,
        channels=1,
        mean=0.3053,
        std=0.3760,
        mirrored=False,
        recipe={
            "epochs": 20,
            "batch_size": 32,
            "lr": 0.05,
            "lr_decay": 0.85,
            "weight_decay": 2e-3,
        },
    ),
    "mnist": ArraySource(
        make=data.MNIST,
        classes=data.MNIST.classes,
        resize=None,
        side=28,
        channels=1,
        mean=0.1307,
        std=0.3081,
        mirrored=False,
        recipe={
            "epochs": 5,
            "batch_size": 64,
            "lr": 0.04,
            "lr_decay": 0.5,
            "weight_decay": 1e-3,
        },
    ),
    "fashion": ArraySource(
        make=data.FashionMNIST,
        classes=data.FashionMNIST.classes,
        resize=None,
        side=28,
        channels=1,
        mean=0.2860,
        std=0.3530,
        recipe={"epochs": 15, "batch_size": 64, "lr": 0.02, "lr_decay": 0.8},
    ),
    "cifar10": ArraySource(
        make=data.CIFAR10,
        classes=data.CIFAR10.classes,
        resize=None,
        side=32,
        channels=3,
        mean=transforms.IMAGENET_MEAN,  # as published CIFAR weights expect
        std=transforms.IMAGENET_STD,
        recipe={
            "epochs": 30,
            "batch_size": 128,
            "lr": 0.4,
            "schedule": "one-cycle",
            "augment": True,
        },
    ),
    "folder": FolderSource(),
}


def input_shape(model: str, dataset: str, size: int | None = None) -> tuple[int, int, int]:
    """Channels, height and width of what a model is given of a data set. ``size`` is another side
    than the model's usual one. Grey images become three equal channels where the model has three.
    """
    kind, source = MODELS[model], DATASETS[dataset]
    side = (kind.side or source.side) if size is None else size
    check_size(model, side)
    return (kind.channels or source.channels, side, side)


def image_transform(
    model: str, dataset: str, *, augment: bool = False, size: int | None = None
) -> transforms.Compose:
    """From the pixels of a data set to what a model takes."""
    return DATASETS[dataset].transform(input_shape(model, dataset, size), augment)


def load_dataset(
    model: str,
    dataset: str,
    directory: Directory = None,
    *,
    train: bool,
    augment: bool = False,
    size: int | None = None,
) -> ImageData:
    """The images that a model learns from, or the ones held out.

    `directory` is where the files are, of all but digits. Without it those of the known data sets
    are downloaded, once, to the user's cache.
    """
    transform = image_transform(model, dataset, augment=augment, size=size)
    return DATASETS[dataset].load(directory, train, transform)
