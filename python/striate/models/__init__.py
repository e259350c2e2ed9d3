"""Networks, each as its paper describes it, and a registry to build them by name."""

from striate.models.lenet import LeNet1, LeNet5, lenet1, lenet5
from striate.models.registry import get_model, list_models, register_model

__all__ = [
    "LeNet1",
    "LeNet5",
    "get_model",
    "lenet1",
    "lenet5",
    "list_models",
    "register_model",
]
