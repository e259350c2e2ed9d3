"""Assembles checkpoint files opcode by opcode and record by record, and loads them.

So no writer has to be talked into what it would never write.
"""

from __future__ import annotations

import io
import pickle
import struct
import tempfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import striate as st
from striate.checkpoint import load_checkpoint

SECONDS = 10  # of the processor, with tracemalloc, which slows it down several times
BYTES = 256 << 20
DATA = np.arange(6, dtype="<f4").tobytes()
MAGIC = 0x1950A86A20F9469CFC6C

# --- Pickles and files ---------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def storage(key="0", count=6, kind="FloatStorage") -> bytes:
    fields = text("storage"), name("torch", kind), text(key), text("cpu"), number(count)
    return tuple_of(*fields) + b"Q"


def tensor(shape=(2, 3), strides=(3, 1), offset=0, of=None) -> bytes:
    sizes = [tuple_of(*map(number, values)) for values in (shape, strides)]
    hooks = name("collections", "OrderedDict") + b")R"
    args = tuple_of(of or storage(), number(offset), *sizes, b"\x89", hooks)
    return name("torch._utils", "_rebuild_tensor_v2") + args + b"R"


def dictionary(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


GOOD = pickled(dictionary(w=tensor()))


def archive(members, **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for member, content in members:
            file.writestr(member, content)
    return buffer.getvalue()


def torch_zip(content: bytes, data: bytes = DATA) -> bytes:
    return archive([("a/data.pkl", content), ("a/byteorder", b"little"), ("a/data/0", data)])


def torch_legacy(content: bytes, keys=("0",), data: bytes = struct.pack("<q", 6) + DATA) -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    heads = [pickle.dumps(value, 2) for value in (MAGIC, 1001, system)]
    return b"".join(heads) + content + pickle.dumps(list(keys), 2) + data


def edited(whole: bytes, member: str, **fields: int) -> bytes:
    """Changes fields of a member's central directory entry."""
    places = {"method": (10, "<H"), "packed": (20, "<L"), "size": (24, "<L"), "header": (42, "<L")}
    directory = whole.index(b"PK\1\2")
    entry = whole.index(member.encode(), directory) - 46
    result = bytearray(whole)
    for field, value in fields.items():
        offset, layout = places[field]
        struct.pack_into(layout, result, entry + offset, value)
    return bytes(result)


def npz(header: str | bytes, data: bytes = b"", version: bytes = b"\1\0", **options) -> bytes:
    raw = header if isinstance(header, bytes) else header.encode()
    content = b"\x93NUMPY" + version + struct.pack("<H", len(raw)) + raw + data
    return archive([("w.npy", content)], **options)


def npy_header(descr="<f4", fortran="False", shape="(2, 3)") -> str:
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


# --- Loading ------------------------------------------------------------------------------------


def load(content: bytes):
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        file.write(content)
        file.flush()
        return load_checkpoint(file.name)


def refuse(content: bytes) -> str:
    """Loads and expects a FormatError, within the bounds; returns its text."""
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(st.FormatError) as caught:
            load(content)
        seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < BYTES
    assert len(str(caught.value)) < 1000
    return str(caught.value)
