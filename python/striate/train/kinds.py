"""The models that `striate train` knows, and the images that each takes."""

from __future__ import annotations

from dataclasses import dataclass

import striate as st
from striate import models


@dataclass(frozen=True)
class Kind:
    """What a model takes, square images, and gives."""

    side: int | None = None
    """Of the images that it was made for; None: those of the data set."""
    channels: int | None = None
    """1 or 3; None: those of the data set."""
    least: int = 1
    """The smallest side that leaves something of every map."""
    any_side: bool = True
    """Whether it takes images of other sides."""
    sized: bool = False
    """Whether it is built for one side, ``image_size``, of any number."""
    log_prob: bool = False
    """Whether it ends in log_softmax."""
    max_lr: float | None = None
    """What recipes keep the learning rate below: without batch norm, training diverges sooner."""


_FLAT = Kind(sized=True, max_lr=0.01)
_CIFAR_RESNET = Kind(32, 3)
_RESNET = Kind(224, 3)
_VGG, _VGG_BN = Kind(224, 3, least=32, max_lr=0.01), Kind(224, 3, least=32)
_ALEXNET = Kind(224, 3, least=63, max_lr=0.01)

MODELS = {
    "linear_classifier": _FLAT,
    "mlp": _FLAT,
    "lenet1": Kind(28, any_side=False, log_prob=True, max_lr=0.05),
    "lenet5": Kind(32, any_side=False, log_prob=True, max_lr=0.05),
    **{f"resnet{depth}": _CIFAR_RESNET for depth in (20, 32, 44, 56, 110)},
    "alexnet": _ALEXNET,
    "alexnet_two_tower": _ALEXNET,
    **{f"vgg{depth}": _VGG for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": _VGG_BN for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": _RESNET for depth in (18, 34, 50, 101, 152)},
    "squeezenet1_1": Kind(224, 3, least=17, max_lr=0.01),
}
"""The models that can be trained here: all of striate.models."""


def check_size(model: str, size: int) -> None:
    """Raises ArgumentError if a model does not take images of (size, size)."""
    kind = MODELS[model]
    if size < kind.least or not (kind.any_side or size == kind.side):
        expected = f"of at least {kind.least}" if kind.any_side else f"{kind.side}"
        raise st.ArgumentError(f"train: expected size {expected} for {model}, got {size}")


def build(model: str, num_classes: int, shape: tuple[int, int, int]) -> st.nn.Module:
    """A new model for images of ``shape``: channels, height and width."""
    kind, (channels, *sides) = MODELS[model], shape
    options = {"image_size": tuple(sides)} if kind.sized else {}
    return models.get_model(model, num_classes=num_classes, in_channels=channels, **options)
