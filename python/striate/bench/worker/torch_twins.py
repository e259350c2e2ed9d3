"""PyTorch's side of the models: torchvision's and akamaster's structures and names, written here so
that neither package is needed. Tests take them as the oracle, benchmarks as the peer.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

VGG = {
    "vgg11": "64 M 128 M 256 256 M 512 512 M 512 512 M",
    "vgg13": "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
RESNET = {
    "resnet18": (False, [2, 2, 2, 2]),
    "resnet34": (False, [3, 4, 6, 3]),
    "resnet50": (True, [3, 4, 6, 3]),
    "resnet101": (True, [3, 4, 23, 3]),
    "resnet152": (True, [3, 8, 36, 3]),
}
CIFAR = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}


class Pyramid(nn.Module):
    """AlexNet's and VGG's shape: features, a grid of fixed size, fully connected layers."""

    def __init__(self, features: list[nn.Module], grid: int, classifier: list[nn.Module]):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def dense(inputs: int, classes: int | None, dropout_first: bool) -> list[nn.Module]:
    """None for `classes` leaves these layers, hundreds of MB, out."""
    if classes is None:
        return []
    layers: list[nn.Module] = []
    for width in (inputs, 4096):
        hidden = [nn.Linear(width, 4096), nn.ReLU()]
        layers += [nn.Dropout(), *hidden] if dropout_first else [*hidden, nn.Dropout()]
    return [*layers, nn.Linear(4096, classes)]


def alexnet(classes: int = 1000) -> nn.Module:
    features: list[nn.Module] = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    features += [nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
        features += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU()]
    return Pyramid([*features, nn.MaxPool2d(3, 2)], 6, dense(9216, classes, True))


def alexnet_two_tower(classes: int = 1000) -> nn.Module:
    """Krizhevsky's cuda-convnet layers as Caffe wrote them down, k = 2 from the paper."""
    norm = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)
    features = [nn.Conv2d(3, 96, 11, 4, 2), nn.ReLU(), norm, nn.MaxPool2d(3, 2)]
    features += [nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(), norm, nn.MaxPool2d(3, 2)]
    for inputs, outputs, groups in ((256, 384, 1), (384, 384, 2), (384, 256, 2)):
        features += [nn.Conv2d(inputs, outputs, 3, 1, 1, groups=groups), nn.ReLU()]
    return Pyramid([*features, nn.MaxPool2d(3, 2)], 6, dense(9216, classes, False))


def vgg(name: str, classes: int | None = 1000) -> nn.Module:
    features: list[nn.Module] = []
    channels = 3
    for word in VGG[name.removesuffix("_bn")].split():
        if word == "M":
            features.append(nn.MaxPool2d(2, 2))
            continue
        features.append(nn.Conv2d(channels, int(word), 3, padding=1))
        channels = int(word)
        if name.endswith("_bn"):
            features.append(nn.BatchNorm2d(channels))
        features.append(nn.ReLU())
    return Pyramid(features, 7, dense(512 * 49, classes, False))


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class ScaledTanh(nn.Module):
    def forward(self, x: Any) -> Any:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Any) -> Any:
        return F.avg_pool2d(x, 2) * self.weight + self.bias


class PartialConv2d(nn.Module):
    """One kernel per entry of `connections`, the input maps of each output map."""

    def __init__(self, inputs: int, connections: list[str], kernel: int):
        super().__init__()
        pairs = [(o, int(i)) for o, maps in enumerate(connections) for i in maps]
        self.shape = (len(connections), inputs, kernel, kernel)
        self.places = tuple(torch.tensor(pairs).T)
        self.weight = nn.Parameter(torch.randn(len(pairs), kernel, kernel) / kernel)
        self.bias = nn.Parameter(torch.zeros(len(connections)))

    def forward(self, x: Any) -> Any:
        weight = self.weight.new_zeros(self.shape).index_put(self.places, self.weight)
        return F.conv2d(x, weight, self.bias)


def lenet1(classes: int = 10) -> nn.Module:
    maps = ["0", "01", "01", "1", "01", "01", "2", "23", "23", "3", "23", "23"]
    layers: dict[str, nn.Module] = {"h1": nn.Conv2d(1, 4, 5), "tanh1": ScaledTanh()}
    layers |= {"h2": Subsampling(4), "tanh2": ScaledTanh()}
    layers |= {"h3": PartialConv2d(4, maps, 5), "tanh3": ScaledTanh()}
    layers |= {"h4": Subsampling(12), "tanh4": ScaledTanh(), "flatten": nn.Flatten()}
    layers |= {"output": nn.Linear(192, classes), "log_softmax": nn.LogSoftmax(1)}
    return nn.Sequential(OrderedDict(layers))


def lenet5(classes: int = 10) -> nn.Module:
    layers: dict[str, nn.Module] = {"c1": nn.Conv2d(1, 6, 5), "relu1": nn.ReLU()}
    layers |= {"s2": nn.MaxPool2d(2), "c3": nn.Conv2d(6, 16, 5), "relu3": nn.ReLU()}
    layers |= {"s4": nn.MaxPool2d(2), "c5": nn.Conv2d(16, 120, 5), "relu5": nn.ReLU()}
    layers |= {"flatten": nn.Flatten(), "f6": nn.Linear(120, 84), "relu6": nn.ReLU()}
    layers |= {"output": nn.Linear(84, classes), "log_softmax": nn.LogSoftmax(1)}
    return nn.Sequential(OrderedDict(layers))


def perceptron(*widths: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Block(nn.Module):
    """Convolutions (outputs, kernel, stride) with batch norm, beside a shortcut."""

    def __init__(self, inputs: int, convs: list[tuple[int, int, int]], name: str, shortcut: Any):
        super().__init__()
        self.count, self.name = len(convs), name
        for i, (outputs, kernel, stride) in enumerate(convs, 1):
            self.add_module(f"conv{i}", conv(inputs, outputs, kernel, stride))
            self.add_module(f"bn{i}", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.add_module(name, shortcut)

    def forward(self, x: Any) -> Any:
        shortcut, y = getattr(self, self.name), x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        return F.relu(y + (x if shortcut is None else shortcut(x)))


class ResNet(nn.Module):
    def __init__(self, name: str, classes: int = 1000, v1: bool = False):
        super().__init__()
        bottleneck, depths = RESNET[name]
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        inputs = 64
        for i, depth in enumerate(depths):
            blocks, width = [], 64 << i
            outputs = width * 4 if bottleneck else width
            for j in range(depth):
                s = 2 if i and not j else 1
                convs = [(width, 3, s), (width, 3, 1)]
                if bottleneck:
                    convs = [
                        (width, 1, s if v1 else 1),
                        (width, 3, 1 if v1 else s),
                        (outputs, 1, 1),
                    ]
                down = None
                if s != 1 or inputs != outputs:
                    down = nn.Sequential(conv(inputs, outputs, 1, s), nn.BatchNorm2d(outputs))
                blocks.append(Block(inputs, convs, "downsample", down))
                inputs = outputs
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, 5):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


class OptionA(nn.Module):
    def __init__(self, planes: int):
        super().__init__()
        self.pad = planes // 4

    def forward(self, x: Any) -> Any:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class CifarResNet(nn.Module):
    def __init__(self, name: str, classes: int = 10, option: str = "A"):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16, 3), nn.BatchNorm2d(16)
        inputs = 16
        for i, width in enumerate((16, 32, 64), 1):
            blocks = []
            for j in range(CIFAR[name]):
                s = 2 if i > 1 and not j else 1
                shortcut: Any = nn.Sequential()
                if s == 2 and option == "A":
                    shortcut = OptionA(width)
                elif s == 2:
                    shortcut = nn.Sequential(conv(inputs, width, 1, s), nn.BatchNorm2d(width))
                blocks.append(Block(inputs, [(width, 3, s), (width, 3, 1)], "shortcut", shortcut))
                inputs = width
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(1, 4):
            x = getattr(self, f"layer{i}")(x)
        return self.linear(F.avg_pool2d(x, x.shape[3]).flatten(1))


class Fire(nn.Module):
    def __init__(self, inputs: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, classes: int = 1000):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 2), nn.ReLU()]
        inputs = 64
        for squeeze, count in ((16, 2), (32, 2), (48, 2), (64, 2)):
            if squeeze < 64:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            for _ in range(count):
                layers.append(Fire(inputs, squeeze, 4 * squeeze))
                inputs = 8 * squeeze
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, classes, 1), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x)).mean((2, 3))


def twin(name: str, *classes: Any, **options: Any) -> nn.Module:
    """A model by Striate's name, with its own number of classes unless another is given."""
    if name in CIFAR:
        return CifarResNet(name, *classes, **options)
    if name in RESNET:
        return ResNet(name, *classes, **options)
    if name.startswith("vgg"):
        return vgg(name, *classes)
    if name in ("linear_classifier", "mlp"):
        hidden = [100] if name == "mlp" else []
        return perceptron(3 * 32 * 32, *hidden, *(classes or (10,)))
    return {
        "alexnet": alexnet,
        "alexnet_two_tower": alexnet_two_tower,
        "lenet1": lenet1,
        "lenet5": lenet5,
        "squeezenet1_1": SqueezeNet,
    }[name](*classes)
