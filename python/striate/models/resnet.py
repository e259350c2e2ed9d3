"""ResNet for ImageNet: blocks that learn what to add to their input.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

from striate._core import Tensor
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
from striate.nn.pooling import AdaptiveAvgPool2d, MaxPool2d


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    return Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    return Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class BasicBlock(Module):
    """Two 3 x 3 convolutions beside a shortcut. (Figure 5, left.) The stride is on the first, in
    either version.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: Module | None = None,
        v1: bool = False,
    ) -> None:
        self.conv1 = _conv3x3(in_channels, width, stride)
        self.bn1 = BatchNorm2d(width)
        self.relu = ReLU()
        self.conv2 = _conv3x3(width, width)
        self.bn2 = BatchNorm2d(width)
        self.downsample = downsample

    def forward(self, input: Tensor) -> Tensor:
        x = norm_relu(self.bn1, self.relu, self.conv1(input))
        return norm_add_relu(self.bn2, self.relu, self.conv2(x), self.downsample, input)

    def fuse(self) -> Module:
        branch = [
            FusedConv2d(self.conv1, self.bn1, relu=True),
            FusedConv2d(self.conv2, self.bn2, relu=True),
        ]
        return FusedBlock(branch, Identity() if self.downsample is None else self.downsample.fuse())


class Bottleneck(Module):
    """1 x 1 to reduce, 3 x 3, 1 x 1 to restore, beside a shortcut. (Figure 5, right.)

    The stride is on the 3 x 3, which keeps every pixel in use; with ``v1`` on the first 1 x 1, as
    in the paper.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        downsample: Module | None = None,
        v1: bool = False,
    ) -> None:
        self.conv1 = _conv1x1(in_channels, width, stride if v1 else 1)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, 1 if v1 else stride)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = _conv1x1(width, width * self.expansion)
        self.bn3 = BatchNorm2d(width * self.expansion)
        self.relu = ReLU()
        self.downsample = downsample

    def forward(self, input: Tensor) -> Tensor:
        x = norm_relu(self.bn1, self.relu, self.conv1(input))
        x = norm_relu(self.bn2, self.relu, self.conv2(x))
        return norm_add_relu(self.bn3, self.relu, self.conv3(x), self.downsample, input)

    def fuse(self) -> Module:
        branch = [
            FusedConv2d(self.conv1, self.bn1, relu=True),
            FusedConv2d(self.conv2, self.bn2, relu=True),
            FusedConv2d(self.conv3, self.bn3, relu=True),
        ]
        return FusedBlock(branch, Identity() if self.downsample is None else self.downsample.fuse())


class AvgPool2d(AdaptiveAvgPool2d):
    """The paper's average pooling, over the whole map: 7 x 7 for images of 224 x 224."""

    def __init__(self) -> None:
        super().__init__((1, 1))


class ResNet(Module):
    """A 7 x 7 stem, four stages of blocks, the mean of each map, one fully connected layer."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        v1: bool = False,
    ) -> None:
        def stage(channels: int, width: int, depth: int, stride: int) -> Sequential:
            """``depth`` blocks, of which the first changes the size, and so its shortcut."""
            outputs = width * block.expansion
            downsample = None
            if stride != 1 or channels != outputs:
                downsample = Sequential(_conv1x1(channels, outputs, stride), BatchNorm2d(outputs))
            return Sequential(
                block(channels, width, stride, downsample, v1),
                *(block(outputs, width) for _ in range(1, depth)),
            )

        self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        self.layer1 = stage(64, 64, depths[0], 1)
        self.layer2 = stage(64 * block.expansion, 128, depths[1], 2)
        self.layer3 = stage(128 * block.expansion, 256, depths[2], 2)
        self.layer4 = stage(256 * block.expansion, 512, depths[3], 2)
        self.avgpool = AvgPool2d()
        self.fc = Linear(512 * block.expansion, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He et al.'s normal distribution for the convolutions."""
        for layer in self.modules():
            if isinstance(layer, Conv2d):
                init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, input: Tensor) -> Tensor:
        """(N, 512 * expansion): what the last layer sees of each image."""
        x = self.maxpool(norm_relu(self.bn1, self.relu, self.conv1(input)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        pooled: Tensor = self.avgpool(x)
        return pooled.flatten(1)

    def forward_head(self, features: Tensor) -> Tensor:
        scores: Tensor = self.fc(features)
        return scores

    def features(self, input: Tensor) -> Tensor:
        """The same as forward_features()."""
        return self.forward_features(input)

    def forward(self, input: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(input))

    def fuse(self) -> Module:
        return fuse_stem(self, super().fuse())


@register_model
def resnet18(
    num_classes: int = 1000, in_channels: int = 3, v1: bool = False, weights: Weights = None
) -> ResNet:
    """ResNet-18, 11,689,512 parameters."""
    return load_weights(ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels, v1), weights)


@register_model
def resnet34(
    num_classes: int = 1000, in_channels: int = 3, v1: bool = False, weights: Weights = None
) -> ResNet:
    """ResNet-34, 21,797,672 parameters."""
    return load_weights(ResNet(BasicBlock, (3, 4, 6, 3), num_classes, in_channels, v1), weights)


@register_model
def resnet50(
    num_classes: int = 1000, in_channels: int = 3, v1: bool = False, weights: Weights = None
) -> ResNet:
    """ResNet-50, 25,557,032 parameters."""
    return load_weights(ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, v1), weights)


@register_model
def resnet101(
    num_classes: int = 1000, in_channels: int = 3, v1: bool = False, weights: Weights = None
) -> ResNet:
    """ResNet-101, 44,549,160 parameters."""
    return load_weights(ResNet(Bottleneck, (3, 4, 23, 3), num_classes, in_channels, v1), weights)


@register_model
def resnet152(
    num_classes: int = 1000, in_channels: int = 3, v1: bool = False, weights: Weights = None
) -> ResNet:
    """ResNet-152, 60,192,808 parameters."""
    return load_weights(ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels, v1), weights)
