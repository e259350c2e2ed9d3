"""Transforms: arrays (..., C, H, W), one image or a batch, to arrays of the same order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from striate._core import ArgumentError, DTypeError, ShapeError, from_numpy, resize_image
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
    """Bilinear interpolation to (height, width), or of the shorter side to a number.

    uint8 images are smoothed where they shrink, as Pillow does it (C++ says how exactly:
    striate/image.h). Others are not, as in PyTorch's ``interpolate`` with ``align_corners=False``.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = size
        if min(size if isinstance(size, tuple) else (size,)) < 1:
            raise ArgumentError(f"Resize: expected a size of at least 1, got {size}")

    def __call__(self, images: Array) -> Array:
        height, width = images.shape[-2:]
        if isinstance(self.size, tuple):
            rows, columns = self.size
        elif height <= width:
            rows, columns = self.size, self.size * width // height
        else:
            rows, columns = self.size * height // width, self.size
        if images.dtype == np.uint8:
            return _resized(images, (0, 0, height, width), (rows, columns))
        down, across = _interpolation(height, rows), _interpolation(width, columns)
        resized: Floats = down @ images.astype(np.float32) @ across.T
        return resized

    def __repr__(self) -> str:
        return f"Resize({self.size})"


class CenterCrop:
    """The middle (size, size) of images that are at least as large."""

    def __init__(self, size: int) -> None:
        self.size = size
        if size < 1:
            raise ArgumentError(f"CenterCrop: expected a size of at least 1, got {size}")

    def __call__(self, images: Array) -> Array:
        height, width = images.shape[-2:]
        if min(height, width) < self.size:
            raise ShapeError(
                f"CenterCrop: expected images of at least {self.size} x {self.size}, got "
                f"{height} x {width}"
            )
        # Half a pixel goes to the even side, as in torchvision.
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return images[..., top : top + self.size, left : left + self.size]

    def __repr__(self) -> str:
        return f"CenterCrop({self.size})"


class RandomResizedCrop:
    """A rectangle of random area (a share in ``scale``), shape (width / height in ``ratio``) and
    place of each uint8 image, resized to (size, size). (Szegedy et al. 2015.)
    """

    random = True
    _TRIES = 10

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size, self.scale, self.ratio = size, scale, ratio
        if not (size >= 1 and 0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]):
            raise ArgumentError(
                f"RandomResizedCrop: expected a size of at least 1, scale within (0, 1] and ratio "
                f"above 0, got {size}, {scale} and {ratio}"
            )

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        tries = [(draw.uniform(), draw.uniform()) for _ in range(self._TRIES)]
        place = draw.uniform(), draw.uniform()
        crops = []
        for i, image in enumerate(images):
            height, width = self._shape(image, [(area[i], shape[i]) for area, shape in tries])
            top = int(place[0][i] * (image.shape[-2] - height + 1))
            left = int(place[1][i] * (image.shape[-1] - width + 1))
            crops.append(_resized(image, (top, left, height, width), (self.size, self.size)))
        return np.stack(crops)

    def _shape(self, image: Array, tries: list[tuple[float, float]]) -> tuple[int, int]:
        """Height and width of the first try that fits; else of the largest rectangle in ratio."""
        height, width = image.shape[-2:]
        low, high = (math.log(limit) for limit in self.ratio)
        for share, shape in tries:
            area = height * width * (self.scale[0] + share * (self.scale[1] - self.scale[0]))
            ratio = math.exp(low + shape * (high - low))
            rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                return rows, columns
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        rows, columns = min(height, round(width / ratio)), min(width, round(height * ratio))
        return max(rows, 1), max(columns, 1)

    def __repr__(self) -> str:
        return f"RandomResizedCrop({self.size}, scale={self.scale}, ratio={self.ratio})"


class Cutout:
    """Blackens a square of (size, size), centred anywhere in each image. (DeVries, Taylor 2017.)"""

    random = True

    def __init__(self, size: int) -> None:
        self.size = size
        if size < 1:
            raise ArgumentError(f"Cutout: expected a size of at least 1, got {size}")

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        result: Array = images.copy()
        height, width = images.shape[-2:]
        tops = (draw.uniform() * height).astype(np.int64) - self.size // 2
        lefts = (draw.uniform() * width).astype(np.int64) - self.size // 2
        for image, top, left in zip(result, tops, lefts, strict=True):
            rows = slice(max(top, 0), max(top + self.size, 0))
            image[:, rows, max(left, 0) : max(left + self.size, 0)] = 0
        return result

    def __repr__(self) -> str:
        return f"Cutout({self.size})"


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet_eval(size: int = 224, resize: int = 256) -> Compose:
    """For published ImageNet weights: the shorter side to ``resize``, then the middle ``size``."""
    return Compose(
        [Resize(resize), CenterCrop(size), ToTensor(), Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    )


def imagenet_train(size: int = 224) -> Compose:
    """What they were trained with: a random rectangle of each image, every second one mirrored."""
    return Compose(
        [
            RandomResizedCrop(size),
            RandomHorizontalFlip(),
            ToTensor(),
            Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def _resized(images: Array, region: tuple[int, int, int, int], size: tuple[int, int]) -> Array:
    """A rectangle of uint8 images (..., C, H, W), as the core resizes it."""
    if images.dtype != np.uint8:
        raise DTypeError(f"resize: expected uint8 images, got {images.dtype}")
    planes = np.ascontiguousarray(images).reshape(-1, *images.shape[-2:])
    resized: Array = resize_image(from_numpy(planes), region, size, (0, 0, *size)).numpy()
    return resized.reshape(*images.shape[:-2], *size)


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
