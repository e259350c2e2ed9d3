"""Data sets, transforms and the loader that makes batches of them."""

from striate.data import transforms
from striate.data.cifar import CIFAR10
from striate.data.dataset import ArrayDataset, Dataset, Subset, TensorDataset
from striate.data.digits import Digits
from striate.data.folder import ImageFolder, read_image
from striate.data.loader import DataLoader
from striate.data.mnist import MNIST, DataNotFoundError, FashionMNIST

__all__ = [
    "CIFAR10",
    "MNIST",
    "ArrayDataset",
    "DataLoader",
    "DataNotFoundError",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "ImageFolder",
    "Subset",
    "TensorDataset",
    "read_image",
    "transforms",
]
