"""What AlexNet and VGG have in common."""

from __future__ import annotations

from striate._core import Tensor
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.dropout import Dropout
from striate.nn.linear import Linear
from striate.nn.module import Module
from striate.nn.pooling import AdaptiveAvgPool2d


class DenseClassifier(Module):
    """Convolutions to maps of ``side`` x ``side``, then fully connected layers."""

    def __init__(self, side: int, features: Sequential, classifier: Sequential) -> None:
        self.features = features
        self.avgpool = AdaptiveAvgPool2d((side, side))
        self.classifier = classifier

    def _maps(self, input: Tensor) -> Tensor:
        x: Tensor = self.features(input)
        if x.shape[2:] != self.avgpool.output_size:  # images that are not 224 x 224
            x = self.avgpool(x)
        return x.flatten(1)

    def forward_features(self, input: Tensor) -> Tensor:
        features: Tensor = self.classifier.forward_features(self._maps(input))
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        scores: Tensor = self.classifier.forward_head(features)
        return scores

    def forward(self, input: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self._maps(input))
        return scores


def fully_connected(inputs: int, num_classes: int, dropout: float) -> Sequential:
    """Two hidden layers of 4096 units, each with ReLU and dropout after it, then the scores."""
    return Sequential(
        Linear(inputs, 4096),
        ReLU(),
        Dropout(dropout),
        Linear(4096, 4096),
        ReLU(),
        Dropout(dropout),
        Linear(4096, num_classes),
    )
