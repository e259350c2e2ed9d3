"""AlexNet, in one tower and in the two of 2012.

Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012. Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
arXiv:1404.5997, 2014.
"""

from __future__ import annotations

from striate.models.dense_classifier import DenseClassifier, fully_connected
from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn import init
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.dropout import Dropout
from striate.nn.linear import Linear
from striate.nn.normalization import LocalResponseNorm
from striate.nn.pooling import MaxPool2d


class AlexNet(DenseClassifier):
    """The network of 2014, in one tower and without normalisation: 61,100,840 parameters."""

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__(
            side=6,
            features=Sequential(
                Conv2d(in_channels, 64, 11, stride=4, padding=2),
                ReLU(),
                MaxPool2d(3, stride=2),
                Conv2d(64, 192, 5, padding=2),
                ReLU(),
                MaxPool2d(3, stride=2),
                Conv2d(192, 384, 3, padding=1),
                ReLU(),
                Conv2d(384, 256, 3, padding=1),
                ReLU(),
                Conv2d(256, 256, 3, padding=1),
                ReLU(),
                MaxPool2d(3, stride=2),
            ),
            classifier=Sequential(
                Dropout(dropout),
                Linear(256 * 6 * 6, 4096),
                ReLU(),
                Dropout(dropout),
                Linear(4096, 4096),
                ReLU(),
                Linear(4096, num_classes),
            ),
        )


def _response_norm() -> LocalResponseNorm:
    """The paper's constants; it does not divide alpha, 1e-4, by the size, as the layer does."""
    return LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


class AlexNetTwoTower(DenseClassifier):
    """The network of 2012, 60,965,224 parameters. Its two towers, one per GPU, are the two groups
    of the second, fourth and fifth convolution; the third sees both.
    """

    def __init__(self, num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__(
            side=6,
            features=Sequential(
                Conv2d(in_channels, 96, 11, stride=4, padding=2),
                ReLU(),
                _response_norm(),
                MaxPool2d(3, stride=2),
                Conv2d(96, 256, 5, padding=2, groups=2),
                ReLU(),
                _response_norm(),
                MaxPool2d(3, stride=2),
                Conv2d(256, 384, 3, padding=1),
                ReLU(),
                Conv2d(384, 384, 3, padding=1, groups=2),
                ReLU(),
                Conv2d(384, 256, 3, padding=1, groups=2),
                ReLU(),
                MaxPool2d(3, stride=2),
            ),
            classifier=fully_connected(256 * 6 * 6, num_classes, dropout),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from N(0, 0.01^2); biases 1 where a ReLU then starts with positive inputs: the
        grouped convolutions and the hidden fully connected layers. (Section 5.)
        """
        *hidden, last = (m for m in self.modules() if isinstance(m, (Conv2d, Linear)))
        for layer in (*hidden, last):
            init.normal_(layer.weight, std=0.01)
            grouped = isinstance(layer, Conv2d) and layer.groups == 2
            dense = isinstance(layer, Linear) and layer is not last
            assert layer.bias is not None
            init.constant_(layer.bias, 1.0 if grouped or dense else 0.0)


@register_model
def alexnet(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> AlexNet:
    """AlexNet in one tower; see AlexNet."""
    return load_weights(AlexNet(num_classes, in_channels, dropout), weights)


@register_model
def alexnet_two_tower(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, weights: Weights = None
) -> AlexNetTwoTower:
    """AlexNet of 2012; see AlexNetTwoTower."""
    return load_weights(AlexNetTwoTower(num_classes, in_channels, dropout), weights)
