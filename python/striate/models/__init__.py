"""Networks, each as its paper describes it, and a registry to build them by name."""

from striate.models.alexnet import AlexNet, AlexNetTwoTower, alexnet, alexnet_two_tower
from striate.models.cifar_resnet import (
    CifarResNet,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from striate.models.lenet import LeNet1, LeNet5, lenet1, lenet5
from striate.models.linear import MLP, linear_classifier, mlp
from striate.models.pattern import from_pattern
from striate.models.registry import get_model, list_models, register_model
from striate.models.resnet import ResNet, resnet18, resnet34, resnet50, resnet101, resnet152
from striate.models.squeezenet import SqueezeNet, squeezenet1_1
from striate.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)

__all__ = [
    "MLP",
    "VGG",
    "AlexNet",
    "AlexNetTwoTower",
    "CifarResNet",
    "LeNet1",
    "LeNet5",
    "ResNet",
    "SqueezeNet",
    "alexnet",
    "alexnet_two_tower",
    "from_pattern",
    "get_model",
    "lenet1",
    "lenet5",
    "linear_classifier",
    "list_models",
    "mlp",
    "register_model",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "squeezenet1_1",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
