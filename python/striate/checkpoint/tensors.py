"""Tensors as a file describes them, checked before any byte of them is read, and their reading."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from striate._core import FormatError, Tensor, empty, get_num_threads, read_into, tensor

Array = npt.NDArray[Any]

# What one file may grow to: int8 becomes int64, and views may share a storage, but a few bytes
# that claim to be gigabytes are refused.
_MAX_GROWTH = 8
_FREE_BYTES = 1 << 20
_MAX_DIMENSIONS = 8
_MAX_BYTES = (1 << 63) - 1
_MAX_ITEM_BYTES = 8
_PARALLEL_BYTES = 8 << 20  # below this, starting threads costs more than it saves
_MAX_READERS = 4  # more do not raise the page cache's bandwidth


# The Striate type of each NumPy type that files hold. float16 becomes float32, and integers that
# Striate lacks become int64; src/io/safetensors.cpp has the same rule.
LOADED = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float32",
    "i8": "int64",
    "i4": "int32",
    "i2": "int64",
    "i1": "int64",
    "u4": "int64",
    "u2": "int64",
    "u1": "uint8",
    "b1": "bool",
}


@dataclass(frozen=True, slots=True)
class ElementType:
    """How a file stores an element, as a NumPy type, and the Striate type that it becomes."""

    stored: str
    loaded: str

    @classmethod
    def of(cls, kind: str) -> ElementType:
        """Of a NumPy type by the rule above."""
        return cls(f"<{kind}", LOADED[kind])

    @property
    def direct(self) -> bool:
        """Whether the stored bytes are the loaded ones; a bool's may be neither 0 nor 1."""
        return self.loaded not in ("bool", "bfloat16") and self.stored == np.dtype(self.loaded).str

    @property
    def stored_size(self) -> int:
        return int(self.stored[-1])

    @property
    def loaded_size(self) -> int:
        return 2 if self.loaded == "bfloat16" else np.dtype(self.loaded).itemsize


@dataclass(frozen=True, slots=True)
class Storage:
    """A flat block of `count` elements, which tensors view."""

    key: str
    type: ElementType
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.type.stored_size


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: a strided view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def whole(self) -> bool:
        """Whether the view is its storage, in row-major order."""
        if self.offset or self.count != self.storage.count:
            return False
        dense = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != dense:
                return False
            dense *= size
        return True


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the bytes of a storage are in the file, and their CRC-32 where the file has one."""

    offset: int
    nbytes: int
    crc: int | None = None


def quote(value: object) -> str:
    """A value of the file, made fit for a message."""
    text = ascii(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def is_size(value: object) -> bool:
    """Whether a value from a file can be a size: an int (not a bool) in [0, 2^63)."""
    return type(value) is int and 0 <= value <= _MAX_BYTES


def check_shape(shape: Sequence[int]) -> None:
    """Raises FormatError unless the sizes can be a tensor's."""
    if len(shape) > _MAX_DIMENSIONS or not all(map(is_size, shape)):
        raise FormatError(f"expected at most {_MAX_DIMENSIONS} sizes in [0, 2^63)")
    # An empty dimension would hide an overflow from libraries that multiply the others.
    if math.prod(size or 1 for size in shape) * _MAX_ITEM_BYTES > _MAX_BYTES:
        raise FormatError(f"expected a tensor of less than 2^63 bytes, got shape {tuple(shape)}")


def checked_view(
    storage: Storage, offset: int, shape: Sequence[int], strides: Sequence[int]
) -> View:
    """Raises FormatError unless every element is inside the storage."""
    check_shape(shape)
    if len(strides) != len(shape) or not all(map(is_size, (offset, *strides))):
        raise FormatError(f"expected an offset and {len(shape)} strides in [0, 2^63)")
    view = View(storage, offset, tuple(shape), tuple(strides))
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if (last >= storage.count) if view.count else (offset > storage.count):
        raise FormatError(
            f"expected a tensor inside its storage of {storage.count} elements, got shape "
            f"{view.shape}, strides {view.strides}, offset {offset}"
        )
    return view


def check_growth(nbytes: int, file_bytes: int) -> None:
    """Raises FormatError if loading a file of `file_bytes` would take `nbytes`."""
    limit = _MAX_GROWTH * file_bytes + _FREE_BYTES
    if nbytes > limit:
        raise FormatError(f"expected tensors of at most {limit} bytes in all, got {nbytes}")


def read_tensors(
    fd: int, views: Mapping[str, View], extents: Mapping[str, Extent]
) -> dict[str, Tensor]:
    """Reads the tensors by name; `extents` is by the storage's key. Equal views share a tensor."""
    by_storage: dict[str, dict[View, Tensor | None]] = {}
    for view in views.values():
        storage = view.storage
        extent = extents.get(storage.key)
        if extent is None:
            raise FormatError(f"expected data for storage {quote(storage.key)}, got none")
        if extent.nbytes != storage.nbytes:
            raise FormatError(
                f"expected {storage.nbytes} bytes for storage {quote(storage.key)}, "
                f"got {extent.nbytes}"
            )
        by_storage.setdefault(storage.key, {})[view] = None
    distinct = {view for group in by_storage.values() for view in group}
    check_growth(
        sum(view.count * view.storage.type.loaded_size for view in distinct),
        os.fstat(fd).st_size,
    )

    def read(keys: Iterable[str]) -> dict[View, Tensor]:
        done: dict[View, Tensor] = {}
        for key in keys:
            done.update(_read_storage(fd, extents[key], list(by_storage[key])))
        return done

    loaded: dict[View, Tensor] = {}
    for part in _map_balanced(read, {key: extents[key].nbytes for key in by_storage}):
        loaded.update(part)
    return {name: loaded[view] for name, view in views.items()}


def _read_storage(fd: int, extent: Extent, views: list[View]) -> dict[View, Tensor]:
    if len(views) == 1 and views[0].whole and views[0].storage.type.direct:
        (view,) = views
        target = empty(view.shape, dtype=view.storage.type.loaded)
        _read(fd, extent, target)
        return {view: target}
    raw = empty((extent.nbytes,), dtype="uint8")
    _read(fd, extent, raw)
    return {view: _copy(view, raw.numpy()) for view in views}


def _copy(view: View, raw: Array) -> Tensor:
    kind = view.storage.type
    if not view.count:
        return empty(view.shape, dtype=kind.loaded)
    size = kind.stored_size
    # The constructor checks the bounds once more.
    elements: Array = np.ndarray(
        view.shape, kind.stored, raw, view.offset * size, [stride * size for stride in view.strides]
    )
    return to_tensor(elements, kind.loaded)


def to_tensor(elements: Array, loaded: str) -> Tensor:
    """A new tensor; bfloat16 comes as the 16 bits of each element."""
    if loaded == "bfloat16":
        elements = (elements.astype(np.uint32) << 16).view(np.float32)
    elif loaded == "bool":
        elements = elements != 0
    elif elements.dtype != np.dtype(loaded):
        elements = elements.astype(loaded)
    return tensor(elements, dtype=loaded)


def _read(fd: int, extent: Extent, target: Tensor) -> None:
    crc = read_into(target, fd, extent.offset)
    if extent.crc not in (None, crc):
        raise FormatError(
            f"expected data with CRC-32 {extent.crc:08x}, got {crc:08x}: the file is corrupt"
        )


def _map_balanced(
    read: Callable[[Iterable[str]], dict[View, Tensor]], sizes: Mapping[str, int]
) -> list[dict[View, Tensor]]:
    """Calls `read` on shares of the keys that are about equal in bytes, in threads if it pays.

    Copying and checksums both release the interpreter's lock.
    """
    workers = min(get_num_threads(), _MAX_READERS)
    if workers == 1 or sum(sizes.values()) < _PARALLEL_BYTES:
        return [read(sizes)]
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    shares: list[list[str]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        lightest = loads.index(min(loads))
        shares[lightest].append(key)
        loads[lightest] += sizes[key]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(read, shares))
