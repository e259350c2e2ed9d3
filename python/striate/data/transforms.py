"""Transforms: arrays (..., C, H, W), one image or a batch, to arrays of the same order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from striate._core import (
    ArgumentError,
    DTypeError,
    ShapeError,
    Tensor,
    crop_images,
    erase_images,
    flip_images,
    from_numpy,
    normalize_images,
    resize_images,
)
from striate.data.dataset import Array, SampleRandom, Transform

Floats = npt.NDArray[np.float32]
Region = tuple[int, int, int, int]  # top, left, height, width


class Compose:
    """Transforms one after another. If one of them is random, `draw` is needed."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)
        self.random = any(getattr(transform, "random", False) for transform in self.transforms)

    def __call__(self, images: Array, draw: SampleRandom | None = None) -> Array:
        if self.random and draw is None:
            raise ArgumentError("Compose: expected draw, since a transform is random, got None")
        for step in self._steps():
            chance = (draw,) if getattr(step, "random", False) else ()
            images = step(images, *chance)
        return images

    def _steps(self) -> list[Transform]:
        """The transforms, as one where the core does two in one pass."""
        steps: list[Transform] = []
        for transform in self.transforms:
            before = steps[-1] if steps else None
            if type(before) is Resize and type(transform) is CenterCrop:
                steps[-1] = partial(before.window, choose=transform.window)
            elif type(before) is ToTensor and type(transform) is Normalize:
                steps[-1] = partial(_floats, mean=transform.means, std=transform.stds, unit=_UNIT)
            else:
                steps.append(transform)
        return steps

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class ToTensor:
    """float32, with uint8 divided by 255 and other types left in their range. The result is an
    array still: the loader makes the tensor, which shares it.
    """

    def __call__(self, images: Array) -> Floats:
        return _floats(images, mean=[0], std=[1], unit=_UNIT)

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """(x - mean) / std per channel."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = mean
        self.std = std
        self.means, self.stds = (np.ravel(values).tolist() for values in (mean, std))
        if min(self.stds) <= 0:
            raise ArgumentError(f"Normalize: expected std above 0, got {std}")

    def __call__(self, images: Array) -> Floats:
        return _floats(images, mean=self.means, std=self.stds)

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
        size = (height + self.top + self.bottom, width + self.left + self.right)
        corner = (-self.top, -self.left)
        return _on_batch(
            images, lambda batch: crop_images(batch, [corner] * len(batch), size, self.fill)
        )

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
        self.padding = Pad(padding).top
        if size < 1:
            raise ArgumentError(f"RandomCrop: expected a size of at least 1, got {size}")

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        size, height, width = self.size, *(side + 2 * self.padding for side in images.shape[-2:])
        if min(height, width) < size:
            raise ShapeError(
                f"RandomCrop: expected images of at least {size} x {size} with their padding, got "
                f"{height} x {width}"
            )
        corners = draw.corners(height - size + 1, width - size + 1, origin=-self.padding)
        return _on_batch(images, lambda batch: crop_images(batch, corners, size))

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, padding={self.padding})"


class RandomHorizontalFlip:
    """Mirrors each image with probability ``p``."""

    random = True

    def __init__(self, p: float = 0.5) -> None:
        self.p = p
        if not 0 <= p <= 1:
            raise ArgumentError(f"RandomHorizontalFlip: expected p in [0, 1], got {p}")

    def __call__(self, images: Array, draw: SampleRandom) -> Array:
        mirrored = (draw.uniform() < self.p).tolist()
        return _on_batch(images, lambda batch: flip_images(batch, mirrored))

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip({self.p})"


class Resize:
    """Bilinear interpolation to (height, width), or of the shorter side to a number.

    uint8 images are smoothed where they shrink, as Pillow does it. Others are not, as in PyTorch's
    ``interpolate`` with ``align_corners=False``, and become float32.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = size
        if min(size if isinstance(size, tuple) else (size,)) < 1:
            raise ArgumentError(f"Resize: expected a size of at least 1, got {size}")

    def __call__(self, images: Array) -> Array:
        return self.window(images)

    def window(self, images: Array, choose: Callable[[int, int], Region] | None = None) -> Array:
        """All of the result, or what ``choose`` takes of its height and width, and no more."""
        height, width = images.shape[-2:]
        if isinstance(self.size, tuple):
            rows, columns = self.size
        elif height <= width:
            rows, columns = self.size, self.size * width // height
        else:
            rows, columns = self.size * height // width, self.size
        window = (0, 0, rows, columns) if choose is None else choose(rows, columns)
        if images.dtype != np.uint8:
            images = images.astype(np.float32, copy=False)
        region = (0, 0, height, width)
        return _on_batch(
            images, lambda batch: resize_images(batch, region, (rows, columns), window)
        )

    def __repr__(self) -> str:
        return f"Resize({self.size})"


class CenterCrop:
    """The middle (size, size) of images that are at least as large."""

    def __init__(self, size: int) -> None:
        self.size = size
        if size < 1:
            raise ArgumentError(f"CenterCrop: expected a size of at least 1, got {size}")

    def __call__(self, images: Array) -> Array:
        top, left, height, width = self.window(*images.shape[-2:])
        return images[..., top : top + height, left : left + width]

    def window(self, height: int, width: int) -> Region:
        """Of an image of this size, the part that is kept."""
        if min(height, width) < self.size:
            raise ShapeError(
                f"CenterCrop: expected images of at least {self.size} x {self.size}, got "
                f"{height} x {width}"
            )
        # Half a pixel goes to the even side, as in torchvision.
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return top, left, self.size, self.size

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
        if images.dtype != np.uint8:
            raise DTypeError(f"RandomResizedCrop: expected uint8 images, got {images.dtype}")
        tries = [(draw.uniform(), draw.uniform()) for _ in range(self._TRIES)]
        place = draw.uniform(), draw.uniform()
        size = (self.size, self.size)
        crops = []
        for i, image in enumerate(images):
            height, width = self._shape(image, [(area[i], shape[i]) for area, shape in tries])
            top = int(place[0][i] * (image.shape[-2] - height + 1))
            left = int(place[1][i] * (image.shape[-1] - width + 1))
            batch, region = from_numpy(image[np.newaxis]), (top, left, height, width)
            crops.append(resize_images(batch, region, size, (0, 0, *size)).numpy())
        return np.concatenate(crops)

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
        height, width = images.shape[-2:]
        corners = draw.corners(height, width, origin=-(self.size // 2))
        return _on_batch(images, lambda batch: erase_images(batch, corners, self.size))

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


_UNIT = 1 / 255  # of uint8


def _on_batch(images: Array, work: Callable[[Tensor], Tensor]) -> Array:
    """What the core makes of images (..., C, H, W), which it takes as (N, C, H, W)."""
    leading = images.shape[:-3]
    batch = from_numpy(images.reshape(math.prod(leading), *images.shape[-3:]))
    result: Array = work(batch).numpy()
    return result.reshape(*leading, *result.shape[1:])


def _floats(images: Array, mean: list[float], std: list[float], unit: float = 1) -> Floats:
    """(x - mean) / std, of bytes in that unit and of other numbers as they are."""
    if images.dtype != np.uint8:
        images, unit = images.astype(np.float32, copy=False), 1
    return _on_batch(images, lambda batch: normalize_images(batch, mean, std, unit))
