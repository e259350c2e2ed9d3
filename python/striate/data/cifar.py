"""CIFAR-10 from its binary archive."""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from striate._core import FormatError
from striate.data.dataset import ArrayDataset, Transform
from striate.data.download import download as fetch
from striate.data.mnist import DataNotFoundError

_FOLDER = "cifar-10-batches-bin"
_ARCHIVE = "cifar-10-binary.tar.gz"
_FILES = {True: [f"data_batch_{i}.bin" for i in range(1, 6)], False: ["test_batch.bin"]}
_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_MAX_RECORDS = 10_000


class CIFAR10(ArrayDataset):
    """Photographs of ten kinds of things, 3 x 32 x 32: 50,000 to train on, 10,000 to test.
    (Krizhevsky 2009.)

    ``root`` holds the six files of the binary version, itself or in ``cifar-10-batches-bin``, or
    the archive ``cifar-10-binary.tar.gz``, which is read in place. With ``download`` a missing
    archive is fetched into ``root``. Raises FormatError on a damaged file. A file may hold fewer
    than its 10,000 records.
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
    mirrors = (f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",)
    sha256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

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
    """The bytes of each file, and where they were."""
    for folder in (root, root / _FOLDER):
        files = [folder / name for name in _FILES[train]]
        if all(file.is_file() for file in files):
            return [(_read(file), str(file)) for file in files]
    archive = root / _ARCHIVE
    if not archive.is_file():
        if not download:
            reason = "" if root.is_dir() else " (there is no such directory)"
            raise DataNotFoundError(
                f"CIFAR10: expected {', '.join(_FILES[train])} in {root} or {_FOLDER}/ below it, "
                f"or {_ARCHIVE}, found neither{reason}; download=True fetches the archive"
            )
        fetch(CIFAR10.mirrors, archive, CIFAR10.sha256)
    return _from_archive(archive, _FILES[train])


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_RECORDS * _RECORD_BYTES + 1)


def _from_archive(archive: Path, names: list[str]) -> list[tuple[bytes, str]]:
    """Members read by name; nothing is unpacked, so no path in the archive matters."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = member.name.removeprefix(f"{_FOLDER}/")
                if name in names and member.isfile():
                    opened = tar.extractfile(member)
                    assert opened is not None  # it is a regular file
                    contents[name] = opened.read(_MAX_RECORDS * _RECORD_BYTES + 1)
                if len(contents) == len(names):
                    break
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FormatError(f"{archive}: damaged archive: {error}") from error
    missing = [name for name in names if name not in contents]
    if missing:
        raise FormatError(f"{archive}: expected {', '.join(missing)} in {_FOLDER}/, found none")
    return [(contents[name], f"{archive}: {name}") for name in names]


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
