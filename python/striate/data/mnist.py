"""MNIST and Fashion-MNIST from their idx files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from striate._core import Error, FormatError
from striate.data.dataset import ArrayDataset, Transform
from striate.data.download import download
from striate.data.idx import read_idx

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class MNIST(ArrayDataset):
    """Handwritten digits, 28 x 28: 60,000 to train on, 10,000 to test. (LeCun et al. 1998.)

    ``root`` holds the four idx files, gzipped or not, itself or (as torchvision lays them out) in
    ``raw`` or ``MNIST/raw``. With ``download``, missing files are fetched into ``root``. Raises
    FormatError on a damaged file.
    """

    classes = tuple("0123456789")
    mirrors: tuple[str, ...] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    sha256: Mapping[str, str] = {
        "train-images-idx3-ubyte": (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
        ),
        "train-labels-idx1-ubyte": (
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
        ),
        "t10k-images-idx3-ubyte": (
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
        ),
        "t10k-labels-idx1-ubyte": (
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
        ),
    }

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        image_file, label_file = (
            self._locate(Path(root), name, download) for name in _FILES[train]
        )
        images = read_idx(image_file, dimensions=3)
        labels = read_idx(label_file, dimensions=1)
        if len(images) != len(labels):
            raise FormatError(
                f"{type(self).__name__}: expected as many labels as images, got {len(images)} "
                f"images in {image_file} and {len(labels)} labels in {label_file}"
            )
        if labels.size and labels.max() >= len(self.classes):
            raise FormatError(
                f"{type(self).__name__}: expected labels below {len(self.classes)}, got "
                f"{labels.max()} in {label_file}"
            )
        super().__init__(images[:, np.newaxis], labels.astype(np.int64), transform)
        self.train = train

    @classmethod
    def _locate(cls, root: Path, name: str, fetch: bool) -> Path:
        folders = (root, root / "raw", root / cls.__name__ / "raw")
        candidates = [folder / file for folder in folders for file in (name, f"{name}.gz")]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        target = root / f"{name}.gz"
        if fetch:
            download([mirror + target.name for mirror in cls.mirrors], target, cls.sha256[name])
            return target
        reason = "" if root.is_dir() else " (there is no such directory)"
        raise DataNotFoundError(
            f"{cls.__name__}: expected {name}.gz or {name} in {root}, raw/ or "
            f"{cls.__name__}/raw/ below it, found neither{reason}; download=True fetches the files"
        )


class FashionMNIST(MNIST):
    """Zalando's clothes, in MNIST's sizes and files. (Xiao et al. 2017.)"""

    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    sha256 = {  # noqa: RUF012 (a constant, as in the base class)
        "train-images-idx3-ubyte": (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
        ),
        "train-labels-idx1-ubyte": (
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
        ),
        "t10k-images-idx3-ubyte": (
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
        ),
        "t10k-labels-idx1-ubyte": (
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
        ),
    }


class DataNotFoundError(Error, FileNotFoundError):
    """The files of a data set are not where they were expected."""
