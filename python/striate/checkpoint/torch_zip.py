"""torch.save since 1.6: a zip archive of a pickle, ``data.pkl``, and one member for each storage.

Members are stored, not compressed. All share a directory, named after the file.
"""

from __future__ import annotations

import io

from striate._core import FormatError
from striate.checkpoint.pickle_reader import read_pickle
from striate.checkpoint.tensors import Extent, quote
from striate.checkpoint.zip_archive import STORED, ZipArchive

_PICKLE = "/data.pkl"
_MAX_PICKLE = 64 << 20


def is_torch(archive: ZipArchive) -> bool:
    return any(name.endswith(_PICKLE) for name in archive.members)


def read_torch_zip(archive: ZipArchive) -> tuple[object, dict[str, Extent]]:
    """What was saved, and where each storage's bytes are."""
    roots = [name.removesuffix(_PICKLE) for name in archive.members if name.endswith(_PICKLE)]
    if len(roots) != 1 or "/" in roots[0]:
        raise FormatError(f"expected one data.pkl in one directory, got {len(roots)}")
    (root,) = roots
    if f"{root}/constants.pkl" in archive.members:
        raise FormatError("refused a TorchScript archive: save the state_dict instead")
    byte_order = f"{root}/byteorder"
    if byte_order in archive.members and archive.read(byte_order, 16) != b"little":
        raise FormatError("expected little-endian data")
    pickled = archive.read(root + _PICKLE, _MAX_PICKLE)
    stream = io.BytesIO(pickled)
    content, _ = read_pickle(stream)
    if stream.tell() != len(pickled):
        raise FormatError(f"expected data.pkl of {stream.tell()} bytes, got {len(pickled)}")
    prefix = f"{root}/data/"
    extents = {}
    for name, member in archive.members.items():
        if name.startswith(prefix):
            if member.method != STORED:
                raise FormatError(f"expected {quote(name)} stored, got it compressed")
            extents[name.removeprefix(prefix)] = Extent(member.offset, member.size, member.crc)
    return content, extents
