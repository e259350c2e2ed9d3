"""What a data set is: something with a length whose items are images and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from striate._core import ArgumentError, ShapeError, Tensor, from_numpy

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Transform = Callable[..., Array]  # of images, and of SampleRandom if its `random` is true


class SampleRandom:
    """Random numbers for the samples at ``indices``, a function of (seed, epoch, index) alone: they
    do not depend on how samples are grouped into batches. (Philox, Salmon et al. 2011.)
    """

    _COUNT = 64  # numbers for each sample

    def __init__(self, seed: int, epoch: int, indices: Indices) -> None:
        key = np.array([seed, epoch], np.uint64)
        self._numbers = np.empty((self._COUNT, len(indices)))
        for column, index in enumerate(indices):
            stream = np.random.Philox(key=key, counter=[0, int(index), 0, 0])
            self._numbers[:, column] = np.random.Generator(stream).random(self._COUNT)
        self._next = 0

    def uniform(self) -> npt.NDArray[np.float64]:
        """The next number in [0, 1) of each sample."""
        if self._next == self._COUNT:
            raise ArgumentError(f"SampleRandom: expected at most {self._COUNT} numbers a sample")
        self._next += 1
        row: npt.NDArray[np.float64] = self._numbers[self._next - 1]
        return row

    def corners(self, rows: int, columns: int, origin: int = 0) -> list[tuple[int, int]]:
        """A place of each sample among so many rows and columns, which begin at ``origin``."""
        tops, lefts = (
            (self.uniform() * places).astype(np.int64) + origin for places in (rows, columns)
        )
        return list(zip(tops.tolist(), lefts.tolist(), strict=True))


class Dataset(Protocol):
    """A sequence of samples, each a tuple of tensors, arrays or numbers.

    One that can gather many samples at once also has ``batch(indices, seed=, epoch=)``; DataLoader
    prefers it.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[Any, ...]: ...


@runtime_checkable
class BatchedDataset(Protocol):
    """A data set that gathers a whole batch in one operation."""

    def __len__(self) -> int: ...
    def batch(
        self, indices: Indices, /, *, seed: int = 0, epoch: int = 0
    ) -> tuple[Tensor, ...]: ...


class ArrayDataset:
    """Images (N, C, H, W) and labels (N) in memory; the transform sees whole batches of images. One
    that is random, like RandomCrop, draws from (seed, epoch, index).
    """

    classes: Sequence[str] = ()

    def __init__(
        self, images: Array, labels: npt.NDArray[np.int64], transform: Transform | None = None
    ) -> None:
        if len(images) != len(labels):
            raise ShapeError(
                f"{type(self).__name__}: expected as many labels as images, got {len(labels)} "
                f"labels and {len(images)} images"
            )
        self.images = images
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        position = range(len(self))[index]
        images, labels = self.batch(np.array([position]))
        return images[0], int(labels[0])

    def batch(self, indices: Indices, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """The transformed images and the int64 labels at ``indices``."""
        images = self.images[indices]
        if self.transform is not None:
            random = getattr(self.transform, "random", False)
            chance = (SampleRandom(seed, epoch, indices),) if random else ()
            images = self.transform(images, *chance)
        return from_numpy(images), from_numpy(self.labels[indices])


class TensorDataset:
    """Samples that are the rows of tensors of one length."""

    def __init__(self, *tensors: Tensor) -> None:
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) != 1:
            raise ShapeError(f"TensorDataset: expected tensors of one length, got {lengths}")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def batch(self, indices: Indices, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, ...]:
        """The rows at ``indices`` of every tensor."""
        rows = from_numpy(indices)
        return tuple(tensor.index_select(0, rows) for tensor in self.tensors)


class Subset:
    """The samples of an image data set at ``indices``; what chance does to one depends on its index
    in the whole.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | Indices) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64)
        if self.indices.size and not (
            self.indices.min() >= 0 and self.indices.max() < len(dataset)
        ):
            raise ArgumentError(
                f"Subset: expected indices from 0 to {len(dataset) - 1}, got "
                f"{self.indices.min()} to {self.indices.max()}"
            )

    @property
    def classes(self) -> Sequence[str]:
        classes: Sequence[str] = self.dataset.classes
        return classes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        sample: tuple[Any, ...] = self.dataset[int(self.indices[index])]
        return sample

    def batch(self, indices: Indices, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, ...]:
        """The samples at ``indices`` of the subset."""
        batch: tuple[Tensor, ...] = self.dataset.batch(
            self.indices[indices], seed=seed, epoch=epoch
        )
        return batch
