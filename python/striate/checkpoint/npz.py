"""NumPy's .npz: a zip archive of .npy files, each a header and the elements. Never with pickle."""

from __future__ import annotations

import math
import re
import struct

import numpy as np

from striate._core import FormatError, Tensor
from striate.checkpoint.tensors import LOADED, check_shape, quote, to_tensor
from striate.checkpoint.zip_archive import ZipArchive

# Deflate reaches 1:1000 on zeros, and trained weights 1:1.1; more than this is a bomb.
_MAX_RATIO = 16
_FREE_BYTES = 16 << 20

# What numpy.lib.format writes, which its own reader would pass to a Python parser.
_HEADER = re.compile(
    rb"\{'descr': '([<>|=])([a-zA-Z]\d{0,3})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\),? ?\}\s*"
)


def is_npz(archive: ZipArchive) -> bool:
    return all(name.endswith(".npy") for name in archive.members)


def read_npz(archive: ZipArchive) -> dict[str, Tensor]:
    sizes = sum(member.size for member in archive.members.values())
    limit = _MAX_RATIO * archive.file_bytes + _FREE_BYTES
    if sizes > limit:
        raise FormatError(f"npz: expected arrays of at most {limit} bytes in all, got {sizes}")
    return {
        name.removesuffix(".npy"): _read_array(name, archive.read(name, limit))
        for name in archive.members
    }


def _read_array(name: str, data: bytes) -> Tensor:
    header, start = _header(name, data)
    match = _HEADER.fullmatch(header)
    if match is None:
        raise FormatError(f"npz: expected {quote(name)} to be a plain array, got {header[:80]!r}")
    order, kind, fortran, sizes = (group.decode() for group in match.groups())
    loaded = LOADED.get(kind)
    if loaded is None:
        raise FormatError(
            f"npz: expected {quote(name)} of floats, integers up to int64 or bools, "
            f"got type {kind!r}"
        )
    shape = tuple(int(size) for size in re.findall(r"\d+", sizes))
    check_shape(shape)
    stored = np.dtype(order + kind)
    if len(data) - start != math.prod(shape) * stored.itemsize:
        raise FormatError(
            f"npz: expected {quote(name)} to hold {stored} of shape {shape}, "
            f"got {len(data) - start} bytes"
        )
    flat = np.frombuffer(data, stored, offset=start)
    elements = flat.reshape(shape[::-1]).T if fortran == "True" else flat.reshape(shape)
    return to_tensor(elements, loaded)


def _header(name: str, data: bytes) -> tuple[bytes, int]:
    """The text of a .npy file's header, and where its elements start."""
    length = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
    size = length.get(data[6]) if len(data) >= 12 and data.startswith(b"\x93NUMPY") else None
    if size is None:
        raise FormatError(f"npz: expected {quote(name)} to be a .npy file, got {data[:8]!r}")
    (count,) = size.unpack_from(data, 8)
    start = 8 + size.size + count
    if start > len(data):
        raise FormatError(f"npz: expected a header of {count} bytes in {quote(name)}: truncated")
    return data[8 + size.size : start], start
