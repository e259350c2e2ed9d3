"""Checkpoints that people have: torch's files, zip or legacy, NumPy's .npz and safetensors.

Read without torch and without executing pickle; what a file holds is told by its content, not by
its name. Anything but tensors by name is a FormatError that says what was refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from striate._core import ArgumentError, FormatError, Tensor
from striate.checkpoint.npz import is_npz, read_npz
from striate.checkpoint.state_dict import find_views, strip_parallel_prefix
from striate.checkpoint.tensors import Extent, read_tensors
from striate.checkpoint.torch_legacy import read_torch_legacy
from striate.checkpoint.torch_zip import is_torch, read_torch_zip
from striate.checkpoint.zip_archive import ZipArchive
from striate.serialization import load, save

_ZIP = (b"PK\3\4", b"PK\5\6")  # the latter is an empty archive
_PICKLE = b"\x80"
_JSON_OFFSET = 8  # safetensors: the header follows its 64-bit length


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, by name.

    Reads safetensors, torch's ``.pth`` / ``.pt`` / ``.th`` (zip or legacy) and ``.npz``. A
    dictionary under ``state_dict``, ``model_state_dict`` or ``model`` is taken out of its wrapper,
    and ``module.`` off the names. float16 becomes float32; integers other than int32, int64
    and uint8 become int64.

    Raises FormatError on anything malformed or not a tensor, OSError when the file cannot be read.
    """
    path = Path(path)
    # Anything but a regular file could block or never end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise FormatError(f"load_checkpoint: {path}: expected a regular file")
    with path.open("rb") as file:
        head = file.read(_JSON_OFFSET + 1)
        file.seek(0)
        if head[_JSON_OFFSET:] == b"{":
            return strip_parallel_prefix(load(path))
        try:
            return strip_parallel_prefix(_load(file, head))
        except FormatError as error:
            raise FormatError(f"load_checkpoint: {path}: {error}") from None


def _load(file: BinaryIO, head: bytes) -> dict[str, Tensor]:
    content: object
    extents: dict[str, Extent]
    if head.startswith(_ZIP):
        archive = ZipArchive(file.fileno())
        if is_torch(archive):
            content, extents = read_torch_zip(archive)
        elif is_npz(archive):
            return read_npz(archive)
        else:
            raise FormatError("expected a zip archive of data.pkl (torch) or .npy files (NumPy)")
    elif head.startswith(_PICKLE):
        content, extents = read_torch_legacy(file)
    else:
        raise FormatError(
            f"expected safetensors, torch's zip or legacy format or .npz, got a file that begins "
            f"with {head!r}"
        )
    return read_tensors(file.fileno(), find_views(content), extents)


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Writes the tensors of any checkpoint that `load_checkpoint` reads as safetensors."""
    if Path(target).suffix != ".safetensors":
        raise ArgumentError(f"convert: expected a target that ends in .safetensors, got {target}")
    tensors = load_checkpoint(source)
    save(tensors, target)
    return tensors
