"""The linear classifier and the multilayer perceptron, with which convolutional networks are
compared.

Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", Nature 323,
1986.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Size2, pair
from striate.nn.linear import Flatten, Linear
from striate.nn.module import Module


class MLP(Sequential):
    """Images to scores through ``hidden`` layers with ReLU; without any, f(x) = W x + b."""

    def __init__(
        self,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: Size2 = 32,
        hidden: Sequence[int] = (100,),
    ) -> None:
        layers: list[Module] = [Flatten()]
        widths = (in_channels * math.prod(pair(image_size)), *hidden)
        for inputs, outputs in pairwise(widths):
            layers += [Linear(inputs, outputs), ReLU()]
        super().__init__(*layers, Linear(widths[-1], num_classes))


@register_model
def linear_classifier(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: Size2 = 32,
    weights: Weights = None,
) -> MLP:
    """One score per class, linear in the pixels: 30,730 parameters for CIFAR-10."""
    return load_weights(MLP(num_classes, in_channels, image_size, ()), weights)


@register_model
def mlp(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: Size2 = 32,
    hidden: Sequence[int] = (100,),
    weights: Weights = None,
) -> MLP:
    """Fully connected layers; see MLP."""
    return load_weights(MLP(num_classes, in_channels, image_size, hidden), weights)
