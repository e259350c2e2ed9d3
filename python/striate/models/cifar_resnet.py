"""ResNet for CIFAR-10, in 6n + 2 layers.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, section 4.2. The
names of the layers are those of akamaster/pytorch_resnet_cifar10, whose weights load.
"""

from __future__ import annotations

from striate._core import ArgumentError, Tensor, pad
from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn import init
from striate.nn.activation import ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.fusion import FusedBlock, FusedConv2d, fuse_stem
from striate.nn.linear import Identity, Linear
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm2d, norm_add_relu, norm_relu
from striate.nn.pooling import AdaptiveAvgPool2d


class PadShortcut(Module):
    """Option A: every second pixel, the new channels zero, half of them on each side."""

    kernel_size, stride = 1, 2

    def __init__(self, new_channels: int) -> None:
        self.new_channels = new_channels

    def forward(self, input: Tensor) -> Tensor:
        before = self.new_channels // 2
        return pad(input[:, :, ::2, ::2], (0, 0, 0, 0, before, self.new_channels - before))

    def extra_repr(self) -> str:
        return str(self.new_channels)


class CifarBlock(Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int, option: str) -> None:
        self.conv1 = Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.relu = ReLU()
        self.shortcut: Module = Identity()
        if stride != 1 or in_channels != width:
            if option == "A":
                self.shortcut = PadShortcut(width - in_channels)
            else:
                self.shortcut = Sequential(
                    Conv2d(in_channels, width, 1, stride=stride, bias=False), BatchNorm2d(width)
                )

    def forward(self, input: Tensor) -> Tensor:
        x = norm_relu(self.bn1, self.relu, self.conv1(input))
        return norm_add_relu(self.bn2, self.relu, self.conv2(x), self.shortcut, input)

    def fuse(self) -> Module:
        branch = [
            FusedConv2d(self.conv1, self.bn1, relu=True),
            FusedConv2d(self.conv2, self.bn2, relu=True),
        ]
        return FusedBlock(branch, self.shortcut.fuse())


class CifarResNet(Module):
    """Three stages of ``n`` blocks with 16, 32 and 64 maps, of half the size each.

    Where the size changes, the shortcut of option "A" has no parameters; that of "B" is a 1 x 1
    convolution.
    """

    def __init__(
        self, n: int, num_classes: int = 10, in_channels: int = 3, option: str = "A"
    ) -> None:
        if option not in ("A", "B"):
            raise ArgumentError(f"CifarResNet: expected option 'A' or 'B', got {option!r}")

        def stage(channels: int, width: int, stride: int) -> Sequential:
            return Sequential(
                CifarBlock(channels, width, stride, option),
                *(CifarBlock(width, width, 1, option) for _ in range(1, n)),
            )

        self.conv1 = Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = BatchNorm2d(16)
        self.relu = ReLU()
        self.layer1 = stage(16, 16, 1)
        self.layer2 = stage(16, 32, 2)
        self.layer3 = stage(32, 64, 2)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.linear = Linear(64, num_classes)
        for layer in self.modules():
            if isinstance(layer, (Conv2d, Linear)):
                init.kaiming_normal_(layer.weight)

    def forward_features(self, input: Tensor) -> Tensor:
        """(N, 64): what the last layer sees of each image."""
        x = norm_relu(self.bn1, self.relu, self.conv1(input))
        pooled: Tensor = self.avgpool(self.layer3(self.layer2(self.layer1(x))))
        return pooled.flatten(1)

    def forward_head(self, features: Tensor) -> Tensor:
        scores: Tensor = self.linear(features)
        return scores

    def features(self, input: Tensor) -> Tensor:
        """The same as forward_features()."""
        return self.forward_features(input)

    def forward(self, input: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(input))

    def fuse(self) -> Module:
        return fuse_stem(self, super().fuse())


@register_model
def resnet20(
    num_classes: int = 10, in_channels: int = 3, option: str = "A", weights: Weights = None
) -> CifarResNet:
    """ResNet-20 for CIFAR-10, 269,722 parameters."""
    return load_weights(CifarResNet(3, num_classes, in_channels, option), weights)


@register_model
def resnet32(
    num_classes: int = 10, in_channels: int = 3, option: str = "A", weights: Weights = None
) -> CifarResNet:
    """ResNet-32 for CIFAR-10, 464,154 parameters."""
    return load_weights(CifarResNet(5, num_classes, in_channels, option), weights)


@register_model
def resnet44(
    num_classes: int = 10, in_channels: int = 3, option: str = "A", weights: Weights = None
) -> CifarResNet:
    """ResNet-44 for CIFAR-10, 658,586 parameters."""
    return load_weights(CifarResNet(7, num_classes, in_channels, option), weights)


@register_model
def resnet56(
    num_classes: int = 10, in_channels: int = 3, option: str = "A", weights: Weights = None
) -> CifarResNet:
    """ResNet-56 for CIFAR-10, 853,018 parameters."""
    return load_weights(CifarResNet(9, num_classes, in_channels, option), weights)


@register_model
def resnet110(
    num_classes: int = 10, in_channels: int = 3, option: str = "A", weights: Weights = None
) -> CifarResNet:
    """ResNet-110 for CIFAR-10, 1,727,962 parameters."""
    return load_weights(CifarResNet(18, num_classes, in_channels, option), weights)
