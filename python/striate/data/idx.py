"""The idx format of MNIST: magic 00 00 type rank, big-endian sizes, then the elements."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from striate._core import FormatError

_UINT8 = 8
_MAX_BYTES = 1 << 31  # of elements: refuses a header, or a gzip bomb, that claims absurdly much


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The uint8 array in an idx file, gzipped or not. Raises FormatError if the file is damaged or
    of another rank, OSError if it cannot be read.
    """
    with path.open("rb") as raw:
        try:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            header = file.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions:
                raise FormatError(f"{path}: expected an idx header, got {len(header)} bytes")
            magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
            expected = _UINT8 << 8 | dimensions
            if magic != expected:
                raise FormatError(f"{path}: expected magic {expected:#010x}, got {magic:#010x}")
            size = math.prod(shape)
            if size > _MAX_BYTES:
                raise FormatError(f"{path}: expected at most {_MAX_BYTES} elements, got {shape}")
            elements = file.read(size + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise FormatError(f"{path}: damaged gzip data: {error}") from error
    if len(elements) != size:
        found = "more" if len(elements) > size else len(elements)
        raise FormatError(f"{path}: expected {size} elements for shape {shape}, got {found}")
    return np.frombuffer(elements, np.uint8).reshape(shape)
