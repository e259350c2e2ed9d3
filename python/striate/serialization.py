"""Checkpoints: dictionaries of tensors as safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, overload

from striate import _core
from striate._core import Tensor

Path = str | os.PathLike[str]


def save(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors by name, and texts beside them, atomically and with a checksum.

    The bytes depend only on the contents. Raises OSError when the file cannot be written; an old
    file is then intact.
    """
    _core.save(dict(tensors), os.fsdecode(path), dict(metadata or {}))


@overload
def load(path: Path, with_metadata: Literal[False] = False) -> dict[str, Tensor]: ...
@overload
def load(path: Path, with_metadata: Literal[True]) -> tuple[dict[str, Tensor], dict[str, str]]: ...
def load(
    path: Path, with_metadata: bool = False
) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by name, and on request the texts beside them.

    Raises FormatError on anything malformed, OSError when the file cannot be read.
    """
    tensors, metadata = _core.load(os.fsdecode(path))
    return (tensors, metadata) if with_metadata else tensors


def load_metadata(path: Path) -> dict[str, str]:
    """The texts that save() stored beside the tensors."""
    return _core.load(os.fsdecode(path))[1]
