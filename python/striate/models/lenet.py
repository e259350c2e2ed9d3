"""LeNet-1 and LeNet-5, the first convolutional networks.

LeCun, Boser, Denker, Henderson, Howard, Hubbard, Jackel, "Handwritten digit recognition with a
back-propagation network", NIPS 1989. LeCun, Bottou, Bengio, Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86(11), 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from striate._core import (
    ArgumentError,
    Tensor,
    avg_pool2d,
    conv2d,
    empty,
    ones,
    pad,
    tanh,
    tensor,
    zeros,
)
from striate.models.pretrained import Weights, load_weights
from striate.models.registry import register_model
from striate.nn import init
from striate.nn.activation import LogSoftmax, ReLU
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.linear import Flatten, Linear
from striate.nn.module import Module
from striate.nn.parameter import Parameter
from striate.nn.pooling import MaxPool2d

Connections = Sequence[Sequence[int]]

# The maps of S2 that feed each of the 16 maps of C3. (1998, Table I.)
LENET5_C3: Connections = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# The maps of H2 that feed each of the 12 maps of H3. (1989, Table 1.) The paper's counts, 2,578
# parameters and 98,442 connections, leave 20 kernels: of each half of H2 two maps of H3 see one map
# and four see both. Which of the 12 is which changes no more than their order.
LENET1_H3: Connections = (
    (0,),
    (0, 1),
    (0, 1),
    (1,),
    (0, 1),
    (0, 1),
    (2,),
    (2, 3),
    (2, 3),
    (3,),
    (2, 3),
    (2, 3),
)


class ScaledTanh(Module):
    """1.7159 tanh(2x/3), which maps +-1 to +-1. (1998, appendix A.)"""

    def forward(self, input: Tensor) -> Tensor:
        return tanh(input * (2 / 3)) * 1.7159


class Subsampling(Module):
    """Mean of each 2 x 2 block, times a coefficient, plus a bias, both learned per map. (The paper
    sums the block: its coefficient is a quarter of ours.)
    """

    def __init__(self, channels: int) -> None:
        self.kernel_size = self.stride = 2
        self.weight = Parameter(ones(1, channels, 1, 1))
        self.bias = Parameter(zeros(1, channels, 1, 1))

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(input, self.kernel_size) * self.weight + self.bias

    def extra_repr(self) -> str:
        return str(self.weight.shape[1])


class PartialConv2d(Module):
    """A convolution whose maps each see only some of the input maps. ``weight`` has one kernel per
    connection, (count, kernel, kernel), in the order of ``connections``.
    """

    def __init__(self, in_channels: int, connections: Connections, kernel_size: int) -> None:
        self.connections = connections
        self.in_channels, self.kernel_size = in_channels, kernel_size
        count = sum(map(len, connections))
        self.weight = Parameter(empty(count, kernel_size, kernel_size))
        self.bias = Parameter(empty(len(connections)))
        # Which kernel stands at each place of the complete weight; `count` is the absent one.
        table = np.full((len(connections), in_channels), count)
        kernel = 0
        for row, inputs in enumerate(connections):
            for column in inputs:
                table[row, column] = kernel
                kernel += 1
        self.table: Tensor
        self.register_buffer("table", tensor(table.ravel()), persistent=False)
        self.shape = (len(connections), in_channels, kernel_size, kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        kernels = pad(self.weight, (0, 0, 0, 0, 0, 1))  # a zero kernel for absent connections
        return conv2d(input, kernels.index_select(0, self.table).reshape(self.shape), self.bias)

    def extra_repr(self) -> str:
        return f"{self.shape[1]}, {self.shape[0]}, connections={self.weight.shape[0]}"


def _initialise(model: Module) -> None:
    """Uniform within 2.4 / fan in, biases included. (1998, appendix A.)"""
    for module in model.modules():
        if isinstance(module, PartialConv2d):
            area = module.shape[2] * module.shape[3]
            kernel = 0
            for row, inputs in enumerate(module.connections):
                bound = 2.4 / (len(inputs) * area)
                kernels = module.weight.data[kernel : kernel + len(inputs)]
                kernel += len(inputs)
                init.uniform_(kernels, -bound, bound)
                init.uniform_(module.bias.data[row], -bound, bound)
        elif isinstance(module, (Conv2d, Linear)):
            bound = 2.4 / init.fan_in_and_out(module.weight)[0]
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)


class LeNet5(Sequential):
    """1 x 32 x 32 images to log-probabilities; the layers have the paper's names.

    ``form="lecture"`` has ReLU, max-pooling and a complete C3: 61,706 parameters.
    ``form="1998"`` has the paper's scaled tanh, learned subsampling and Table I: 60,000 weights up
    to F6. Its output is a
    linear layer with log-softmax, in place of the paper's Euclidean distances to drawn characters,
    so that both forms are trained alike.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, form: str = "lecture") -> None:
        if form == "lecture":
            layers: dict[str, Module] = {
                "c1": Conv2d(in_channels, 6, 5),
                "relu1": ReLU(),
                "s2": MaxPool2d(2),
                "c3": Conv2d(6, 16, 5),
                "relu3": ReLU(),
                "s4": MaxPool2d(2),
                "c5": Conv2d(16, 120, 5),
                "relu5": ReLU(),
                "flatten": Flatten(),
                "f6": Linear(120, 84),
                "relu6": ReLU(),
            }
        elif form == "1998":
            layers = {
                "c1": Conv2d(in_channels, 6, 5),
                "tanh1": ScaledTanh(),
                "s2": Subsampling(6),
                "tanh2": ScaledTanh(),
                "c3": PartialConv2d(6, LENET5_C3, 5),
                "tanh3": ScaledTanh(),
                "s4": Subsampling(16),
                "tanh4": ScaledTanh(),
                "c5": Conv2d(16, 120, 5),
                "tanh5": ScaledTanh(),
                "flatten": Flatten(),
                "f6": Linear(120, 84),
                "tanh6": ScaledTanh(),
            }
        else:
            raise ArgumentError(f"lenet5: expected form 'lecture' or '1998', got {form!r}")
        super().__init__(
            {**layers, "output": Linear(84, num_classes), "log_softmax": LogSoftmax(1)}
        )
        if form == "1998":
            _initialise(self)


class LeNet1(Sequential):
    """1 x 28 x 28 images to log-probabilities: the network of 1989, with 2,578 weights.

    The digit fills the middle 16 x 16 of the paper's images. Its ten outputs were scaled tanh
    units; here they are log-softmax.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        layers: dict[str, Module] = {
            "h1": Conv2d(in_channels, 4, 5),
            "tanh1": ScaledTanh(),
            "h2": Subsampling(4),
            "tanh2": ScaledTanh(),
            "h3": PartialConv2d(4, LENET1_H3, 5),
            "tanh3": ScaledTanh(),
            "h4": Subsampling(12),
            "tanh4": ScaledTanh(),
            "flatten": Flatten(),
            "output": Linear(192, num_classes),
            "log_softmax": LogSoftmax(1),
        }
        super().__init__(layers)
        _initialise(self)


@register_model
def lenet5(
    num_classes: int = 10, in_channels: int = 1, form: str = "lecture", weights: Weights = None
) -> LeNet5:
    """LeNet-5; see LeNet5."""
    return load_weights(LeNet5(num_classes, in_channels, form), weights)


@register_model
def lenet1(num_classes: int = 10, in_channels: int = 1, weights: Weights = None) -> LeNet1:
    """LeNet-1; see LeNet1."""
    return load_weights(LeNet1(num_classes, in_channels), weights)
