"""scikit-learn's real handwritten digits: no download, no files of our own."""

from __future__ import annotations

import numpy as np

from striate._core import Error
from striate.data.dataset import ArrayDataset, Transform


class Digits(ArrayDataset):
    """1,797 digits of 8 x 8 pixels (Alpaydin and Kaynak 1998), as uint8 images (N, 1, 8, 8).

    Of each class, every fifth image is held out for testing: a split that is the same everywhere
    and keeps the classes' shares.
    """

    classes = tuple("0123456789")

    def __init__(self, train: bool = True, transform: Transform | None = None) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise Error(
                "Digits: needs scikit-learn, which holds the images: pip install 'striate[data]'"
            ) from error
        pixels, labels = load_digits(return_X_y=True)
        labels = labels.astype(np.int64)
        held_out = np.zeros(len(labels), bool)
        for label in range(10):
            held_out[np.flatnonzero(labels == label)[4::5]] = True
        chosen = np.flatnonzero(~held_out if train else held_out)
        grey = np.rint(pixels[chosen] * (255 / 16)).astype(np.uint8)  # levels 0 to 16
        super().__init__(grey.reshape(-1, 1, 8, 8), labels[chosen], transform)
        self.train = train
