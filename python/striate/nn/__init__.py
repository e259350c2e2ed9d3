"""Layers, under PyTorch's names."""

from striate.nn import functional, init, utils
from striate.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from striate.nn.containers import ModuleDict, ModuleList, Sequential
from striate.nn.conv import Conv1d, Conv2d, ConvTranspose2d
from striate.nn.dropout import Dropout
from striate.nn.linear import Flatten, Identity, Linear
from striate.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm1d, BatchNorm2d, LocalResponseNorm
from striate.nn.parameter import Parameter
from striate.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool1d, MaxPool2d

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MSELoss",
    "MaxPool1d",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "init",
    "utils",
]
