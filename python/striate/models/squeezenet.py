"""SqueezeNet 1.1: AlexNet's accuracy with a fiftieth of its parameters.

Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer
parameters and <0.5MB model size", arXiv:1602.07360, 2016. Version 1.1 is that of
forresti/SqueezeNet: as accurate, with 2.4 times less computation.
"""

from __future__ import annotations

import copy

from striate._core import Tensor, cat
from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn import init
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.dropout import Dropout
from striate.nn.fusion import FusedConv2d
from striate.nn.linear import Identity
from striate.nn.module import Module
from striate.nn.pooling import AdaptiveAvgPool2d, MaxPool2d


class Fire(Module):
    """1 x 1 convolutions to few maps, from which 1 x 1 and 3 x 3 convolutions make many."""

    def __init__(self, in_channels: int, squeeze: int, expand: int) -> None:
        self.squeeze = Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = ReLU()
        self.expand1x1 = Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = ReLU()
        self.expand3x3 = Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = ReLU()

    def forward(self, input: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(input))
        small = self.expand1x1_activation(self.expand1x1(x))
        large = self.expand3x3_activation(self.expand3x3(x))
        return cat([small, large], 1)

    def fuse(self) -> Module:
        fused = copy.copy(self)
        for name in ("squeeze", "expand1x1", "expand3x3"):
            setattr(fused, name, FusedConv2d(getattr(self, name), relu=True))
            setattr(fused, f"{name}_activation", Identity())
        return fused.eval()


class SqueezeNet(Module):
    """Eight fire modules; the classifier is a convolution and the mean of each of its maps."""

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        self.features = Sequential(
            Conv2d(in_channels, 64, 3, stride=2),
            ReLU(),
            MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            MaxPool2d(3, stride=2, ceil_mode=True),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        self.classifier = Sequential(
            Dropout(dropout),
            Conv2d(512, num_classes, 1),
            ReLU(),
            AdaptiveAvgPool2d((1, 1)),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He et al.'s uniform distribution; N(0, 0.01^2) for the last convolution; biases 0."""
        last = self.classifier[1]
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                if layer is last:
                    init.normal_(layer.weight, std=0.01)
                else:
                    init.kaiming_uniform_(layer.weight)
                assert layer.bias is not None
                init.zeros_(layer.bias)

    def forward_features(self, input: Tensor) -> Tensor:
        """(N, 512, H, W): the classifier is a convolution."""
        dropout = self.classifier[0]
        maps: Tensor = dropout(self.features(input))
        return maps

    def forward_head(self, features: Tensor) -> Tensor:
        for layer in list(self.classifier)[1:]:
            features = layer(features)
        return features.flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(input))
        return scores.flatten(1)


@register_model
def squeezenet1_1(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> SqueezeNet:
    """SqueezeNet 1.1, 1,235,496 parameters."""
    return load_weights(SqueezeNet(num_classes, in_channels, dropout), weights)
