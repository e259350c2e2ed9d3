"""torch.save before 1.6: five pickles (magic number, protocol, system, content, storage keys), then
for each key a 64-bit count of elements and the elements. There is no checksum.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from striate._core import FormatError
from striate.checkpoint.pickle_reader import read_pickle
from striate.checkpoint.tensors import Extent, Storage, quote

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_COUNT_BYTES = 8


def read_torch_legacy(file: BinaryIO) -> tuple[object, dict[str, Extent]]:
    """What was saved, and where each storage's bytes are."""
    magic, _ = read_pickle(file)
    if magic != _MAGIC:
        raise FormatError("expected a torch checkpoint, got another pickle: pickles are not loaded")
    protocol, _ = read_pickle(file)
    if protocol != _PROTOCOL:
        raise FormatError(f"expected torch's protocol {_PROTOCOL}, got another")
    system, _ = read_pickle(file)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise FormatError("expected the description of a little-endian system")
    content, storages = read_pickle(file)
    keys, _ = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FormatError("expected a list of storage keys")
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise FormatError("expected the keys of the storages that tensors mention, each once")
    return content, _locate(file.fileno(), file.tell(), [storages[key] for key in keys])


def _locate(fd: int, position: int, storages: list[Storage]) -> dict[str, Extent]:
    """The extents of storages that fill the rest of the file from `position`, in order."""
    end = os.fstat(fd).st_size
    extents = {}
    for storage in storages:
        count = int.from_bytes(os.pread(fd, _COUNT_BYTES, position), "little")
        position += _COUNT_BYTES
        if count != storage.count or position + storage.nbytes > end:
            raise FormatError(
                f"expected {storage.count} elements for storage {quote(storage.key)}, "
                f"got {count} in {max(end - position, 0)} bytes"
            )
        extents[storage.key] = Extent(position, storage.nbytes)
        position += storage.nbytes
    if position != end:
        raise FormatError(f"expected the file's end at byte {position}, got {end - position} more")
    return extents
