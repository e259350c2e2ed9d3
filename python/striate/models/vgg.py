"""VGG: nothing but 3 x 3 convolutions and 2 x 2 pooling, in 11 to 19 weight layers.

Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR
2015. The variants with batch normalisation are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence

from striate.models.dense_classifier import DenseClassifier, fully_connected
from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn import init
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.linear import Linear
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm2d
from striate.nn.pooling import MaxPool2d

# Convolutions in each of the five stages, by weight layers. (Table 1: A, B, D, E.)
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def _features(depths: Sequence[int], in_channels: int, batch_norm: bool) -> Sequential:
    layers: list[Module] = []
    for depth, width in zip(depths, WIDTHS, strict=True):
        for _ in range(depth):
            layers.append(Conv2d(in_channels, width, 3, padding=1))
            if batch_norm:
                layers.append(BatchNorm2d(width))
            layers.append(ReLU())
            in_channels = width
        layers.append(MaxPool2d(2))
    return Sequential(*layers)


class VGG(DenseClassifier):
    """Five stages of convolutions, each halved by pooling, then three fully connected layers."""

    def __init__(
        self,
        depths: Sequence[int],
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            side=7,
            features=_features(depths, in_channels, batch_norm),
            classifier=fully_connected(512 * 7 * 7, num_classes, dropout),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He et al.'s for the convolutions, N(0, 0.01^2) for the others; biases 0."""
        for layer in self.modules():
            if isinstance(layer, (Conv2d, Linear)):
                if isinstance(layer, Conv2d):
                    init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                else:
                    init.normal_(layer.weight, std=0.01)
                assert layer.bias is not None
                init.zeros_(layer.bias)


@register_model
def vgg11(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-11, 132,863,336 parameters."""
    return load_weights(VGG(DEPTHS[11], False, num_classes, in_channels, dropout), weights)


@register_model
def vgg11_bn(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-11 with batch normalisation, 132,868,840 parameters."""
    return load_weights(VGG(DEPTHS[11], True, num_classes, in_channels, dropout), weights)


@register_model
def vgg13(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-13, 133,047,848 parameters."""
    return load_weights(VGG(DEPTHS[13], False, num_classes, in_channels, dropout), weights)


@register_model
def vgg13_bn(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-13 with batch normalisation, 133,053,736 parameters."""
    return load_weights(VGG(DEPTHS[13], True, num_classes, in_channels, dropout), weights)


@register_model
def vgg16(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-16, 138,357,544 parameters."""
    return load_weights(VGG(DEPTHS[16], False, num_classes, in_channels, dropout), weights)


@register_model
def vgg16_bn(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-16 with batch normalisation, 138,365,992 parameters."""
    return load_weights(VGG(DEPTHS[16], True, num_classes, in_channels, dropout), weights)


@register_model
def vgg19(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-19, 143,667,240 parameters."""
    return load_weights(VGG(DEPTHS[19], False, num_classes, in_channels, dropout), weights)


@register_model
def vgg19_bn(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> VGG:
    """VGG-19 with batch normalisation, 143,678,248 parameters."""
    return load_weights(VGG(DEPTHS[19], True, num_classes, in_channels, dropout), weights)
