"""Image files in one directory per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from striate._core import Error, FormatError, ShapeError, Tensor, cat, from_numpy
from striate.data.dataset import Array, Indices, SampleRandom, Transform
from striate.data.mnist import DataNotFoundError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFolder:
    """The files ``root/CLASS/**/*.jpg`` and so on: classes and files in the order of their names.

    Files are decoded by Pillow when they are asked for, as RGB; ``transform`` sees uint8 images
    (1, 3, H, W), one at a time, and must make them equal in size to share a batch. With
    ``DataLoader(num_workers=...)`` several threads decode. Raises FormatError naming the file if
    one is damaged.
    """

    def __init__(self, root: str | os.PathLike[str], transform: Transform | None = None) -> None:
        self.root = Path(root)
        folders = sorted(entry for entry in self.root.glob("*") if entry.is_dir())
        if not folders:
            raise DataNotFoundError(
                f"ImageFolder: expected directories, one for each class, in {root}, found none"
            )
        self.classes = [folder.name for folder in folders]
        self.class_to_idx = {name: index for index, name in enumerate(self.classes)}
        self.samples = [
            (file, label)
            for label, folder in enumerate(folders)
            for file in sorted(folder.rglob("*"))
            if file.suffix.lower() in EXTENSIONS and file.is_file()
        ]
        empty = set(self.classes) - {self.classes[label] for _, label in self.samples}
        if empty:
            raise DataNotFoundError(
                f"ImageFolder: expected image files ({' '.join(EXTENSIONS)}) for every class, "
                f"found none in {', '.join(str(self.root / name) for name in sorted(empty))}"
            )
        self.labels = np.array([label for _, label in self.samples], np.int64)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        position = range(len(self))[index]
        images, labels = self.batch(np.array([position]))
        return images[0], int(labels[0])

    def batch(self, indices: Indices, *, seed: int = 0, epoch: int = 0) -> tuple[Tensor, Tensor]:
        """The transformed images and the int64 labels at ``indices``."""
        images = [self._image(int(index), seed, epoch) for index in indices]
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise ShapeError(
                "ImageFolder: expected a transform that gives every image one size, got "
                f"{' and '.join(str(shape[1:]) for shape in sorted(shapes)[:2])}"
            )
        return cat([from_numpy(image) for image in images]), from_numpy(self.labels[indices])

    def _image(self, index: int, seed: int, epoch: int) -> Array:
        image: Array = read_image(self.samples[index][0])[np.newaxis]
        if self.transform is None:
            return image
        random = getattr(self.transform, "random", False)
        chance = (SampleRandom(seed, epoch, np.array([index])),) if random else ()
        return self.transform(image, *chance)


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """An image file as RGB (3, H, W), turned as its EXIF data says; transparency is dropped.

    Raises FormatError naming the file if it is damaged or claims absurdly many pixels, OSError if
    it cannot be read.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise Error("read_image: needs Pillow: pip install 'striate[cli]'") from error
    with open(path, "rb") as file:
        try:
            with Image.open(file) as image:
                ImageOps.exif_transpose(image, in_place=True)
                image.load()  # not in np.array, where old NumPys turn its errors into others
                pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise FormatError(f"read_image: {os.fspath(path)}: {error}") from error
    planes: npt.NDArray[np.uint8] = pixels.transpose(2, 0, 1)  # channels-last, as the file is
    return planes
