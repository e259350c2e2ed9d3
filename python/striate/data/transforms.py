"""Transforms: arrays (..., C, H, W), one image or a batch, to arrays of the same order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from striate._core import ArgumentError, ShapeError
from striate.data.dataset import Array, SampleRandom, Transform

Floats = npt.NDArray[np.float32]


class Compose:
    """Transforms one after another. If one of them is random, `draw` is needed."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        self.random = any(getattr(transform, "random", False) for transform in self.transforms)

    def __call__(self, images: Array, draw: SampleRandom | None = None) -> Array:
        if self.random and draw is None:
            raise ArgumentError("Compose: expected draw, since a transform is random, got None")
        for transform in self.transforms:
            chance = (draw,) if getattr(transform, "random", False) else ()
            images = transform(images, *chance)
        return images

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class ToTensor:
    """float32, with uint8 divided by 255 and other types left in their range. The result is an
    array still: the loader makes the tensor, which shares it.
    """

    def __call__(self, images: Array) -> Floats:
        scaled = images.astype(np.float32)
        if images.dtype == np.uint8:
            scaled *= np.float32(1 / 255)
        return scaled

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """(x - mean) / std per channel."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = mean
        self.std = std
        if np.any(np.asarray(std) <= 0):
            raise ArgumentError(f"Normalize: expected std above 0, got {std}")
        self._scale = (1 / np.asarray(std, np.float64)).astype(np.float32).reshape(-1, 1, 1)
        self._shift = (-np.asarray(mean, np.float64) / std).astype(np.float32).reshape(-1, 1, 1)

    def __call__(self, images: Array) -> Floats:
        normalised: Floats = images * self._scale
        normalised += self._shift
        return normalised

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class Pad:
    """Surrounds images with ``fill``: one width for all sides, or (left, top, right, bottom)."""

    def __init__(self, padding: int | tuple[int, int, int, int], fill: float = 0) -> None:
        sides = (padding,) * 4 if isinstance(padding, int) else padding
        if min(sides) < 0:
            raise ArgumentError(f"Pad: expected padding of at least 0, got {padding}")
        self.left, self.top, self.right, self.bottom = sides
        self.fill = fill

    def __call__(self, images: Array) -> Array:
        height, width = images.shape[-2:]
        shape = (height + self.top + self.bottom, width + self.left + self.right)
        padded = np.full((*images.shape[:-2], *shape), self.fill, images.dtype)
        padded[..., self.top : self.top + height, self.left : self.left + width] = images
        return padded

    def __repr__(self) -> str:
        return f"Pad({self.left}, {self.top}, {self.right}, {self.bottom})"


class Repeat:
    """Grey images (..., 1, H, W) as ``channels`` equal ones."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, images: Array) -> Array:
        if images.shape[-3] != 1:
            raise ShapeError(f"Repeat: expected images of one channel, got shape {images.shape}")
        return np.repeat(images, self.channels, axis=-3)

    def __repr__(self) -> str:
        return f"Repeat({self.channels})"


class RandomCrop:
    """A window of (size, size) at a random place of each image, which is first surrounded with
    ``padding`` zeros.
    """

    random = True

    def __init__(self, size: int, padding: int = 0) -> None:
        self.size = size
        self.pad = Pad(padding)
        if size < 1:
            raise ArgumentError(f"RandomCrop: expected a size of at least 1, got {size}")

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        padded, size = self.pad(images), self.size
        room = [side - size + 1 for side in padded.shape[-2:]]
        if min(room) < 1:
            raise ShapeError(
                f"RandomCrop: expected images of at least {size} x {size} with their padding, got "
                f"{padded.shape[-2]} x {padded.shape[-1]}"
            )
        tops, lefts = ((draw.uniform() * places).astype(np.int64) for places in room)
        result = np.empty((*images.shape[:-2], size, size), images.dtype)
        for image, source, top, left in zip(result, padded, tops, lefts, strict=True):
            image[...] = source[:, top : top + size, left : left + size]
        return result

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, padding={self.pad.top})"


class RandomHorizontalFlip:
    """Mirrors each image with probability ``p``."""

    random = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = p
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomHorizontalFlip: expected p in [0, 1], got {p}")

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        chosen = (draw.uniform() < self.p)[:, np.newaxis, np.newaxis, np.newaxis]
        return np.where(chosen, images[..., ::-1], images)

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip({self.p})"


class Resize:
    """Bilinear interpolation to (height, width), pixel centres aligned as in PyTorch's
    ``align_corners=False``; no smoothing, so meant for enlarging.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = (size, size) if isinstance(size, int) else size
        if min(self.size) < 1:
            raise ArgumentError(f"Resize: expected a size of at least 1, got {size}")

    def __call__(self, images: Array) -> Array:
        rows = _interpolation(images.shape[-2], self.size[0])
        columns = _interpolation(images.shape[-1], self.size[1])
        resized: Floats = rows @ images.astype(np.float32) @ columns.T
        if images.dtype == np.uint8:
            return np.rint(resized).astype(np.uint8)
        return resized

    def __repr__(self) -> str:
        return f"Resize({self.size})"


def _interpolation(source: int, target: int) -> Floats:
    """The matrix (target, source) of linear interpolation along one axis."""
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = np.floor(centres).astype(np.int64)
    upper = np.minimum(lower + 1, source - 1)
    share = (centres - lower).astype(np.float32)
    matrix = np.zeros((target, source), np.float32)
    np.add.at(matrix, (np.arange(target), lower), 1 - share)
    np.add.at(matrix, (np.arange(target), upper), share)
    return matrix
