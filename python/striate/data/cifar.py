"""CIFAR-10 from its binary or its Python archive."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from striate._core import FormatError
from striate.data.cifar_pickle import read_batch
from striate.data.dataset import ArrayDataset, Transform
from striate.data.download import download as fetch
from striate.data.mnist import DataNotFoundError

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_SPLITS = {True: [f"data_batch_{i}" for i in range(1, 6)], False: ["test_batch"]}
_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_MAX_RECORDS = 10_000


@dataclass(frozen=True)
class _Version:
    """One of the two forms in which the data is published."""

    folder: str
    archive: str
    suffix: str
    read: Callable[[bytes], bytes]
    """From a file's bytes to records."""
    max_bytes: int
    """Of a file; a pickle also holds a name for each image."""


_BINARY = _Version(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    suffix=".bin",
    read=lambda content: content,
    max_bytes=_MAX_RECORDS * _RECORD_BYTES,
)
_PYTHON = _Version(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    suffix="",
    read=read_batch,
    max_bytes=_MAX_RECORDS * (_RECORD_BYTES + 256),
)


class CIFAR10(ArrayDataset):
    """Photographs of ten kinds of things, 3 x 32 x 32: 50,000 to train on, 10,000 to test.
    (Krizhevsky 2009.)

    ``root`` holds the six files of the binary or the Python version, itself or in
    ``cifar-10-batches-bin`` or ``-py``, or one of the archives ``cifar-10-binary.tar.gz`` and
    ``cifar-10-python.tar.gz``, which are read in place; nothing in a pickle is executed. With
    ``download`` a missing archive is fetched into ``root``. Raises FormatError on a damaged file.
    A file may hold fewer than its 10,000 records.
    """

    classes = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        records = np.concatenate(
            [_records(content, where) for content, where in _contents(Path(root), train, download)]
        )
        super().__init__(
            records[:, 1:].reshape(-1, *_SHAPE), records[:, 0].astype(np.int64), transform
        )
        self.train = train


def _contents(root: Path, train: bool, download: bool) -> list[tuple[bytes, str]]:
    """The records of each file, and where they were."""
    for version in (_BINARY, _PYTHON):
        for folder in (root, root / version.folder):
            files = [folder / (name + version.suffix) for name in _SPLITS[train]]
            if all(file.is_file() for file in files):
                return [_read(file, version) for file in files]
        if (root / version.archive).is_file():
            return _from_archive(root / version.archive, version, train)
    if not download:
        reason = "" if root.is_dir() else " (there is no such directory)"
        names = ", ".join(f"{name}[.bin]" for name in _SPLITS[train])
        raise DataNotFoundError(
            f"CIFAR10: expected {names} in {root} or in {_BINARY.folder}/ or {_PYTHON.folder}/ "
            f"below it, or {_BINARY.archive} or {_PYTHON.archive}, found none{reason}; "
            "download=True fetches the archive"
        )
    archive = root / _BINARY.archive
    fetch([_URL], archive, _SHA256)
    return _from_archive(archive, _BINARY, train)


def _read(file: Path, version: _Version) -> tuple[bytes, str]:
    with file.open("rb") as opened:
        return _decode(opened.read(version.max_bytes + 1), version, str(file)), str(file)


def _decode(content: bytes, version: _Version, where: str) -> bytes:
    try:
        return version.read(content)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error


def _from_archive(archive: Path, version: _Version, train: bool) -> list[tuple[bytes, str]]:
    """Members read by name; nothing is unpacked, so no path in the archive matters."""
    names = [f"{version.folder}/{name}{version.suffix}" for name in _SPLITS[train]]
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name in names and member.isfile():
                    opened = tar.extractfile(member)
                    assert opened is not None  # it is a regular file
                    contents[member.name] = opened.read(version.max_bytes + 1)
                if len(contents) == len(names):
                    break
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{archive}: damaged archive: {error}") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise FormatError(f"{archive}: expected {', '.join(missing)}, found none")
    places = [f"{archive}: {name}" for name in names]
    return [
        (_decode(contents[name], version, place), place)
        for name, place in zip(names, places, strict=True)
    ]


def _records(content: bytes, where: str) -> npt.NDArray[np.uint8]:
    count, rest = divmod(len(content), _RECORD_BYTES)
    if rest or not 1 <= count <= _MAX_RECORDS:
        found = "more" if len(content) > _MAX_RECORDS * _RECORD_BYTES else f"{len(content)} bytes"
        raise FormatError(
            f"{where}: expected 1 to {_MAX_RECORDS} records of {_RECORD_BYTES} bytes, got {found}"
        )
    records = np.frombuffer(content, np.uint8).reshape(count, _RECORD_BYTES)
    if records[:, 0].max() >= len(CIFAR10.classes):
        raise FormatError(
            f"{where}: expected labels below {len(CIFAR10.classes)}, got {records[:, 0].max()}"
        )
    return records
