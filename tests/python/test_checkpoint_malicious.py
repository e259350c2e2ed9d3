"""Hostile torch checkpoints: each is a FormatError in bounded time and memory, and runs nothing."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest

import striate as st
from checkpoint_files import (
    DATA,
    GOOD,
    dictionary,
    load,
    name,
    number,
    pickled,
    refuse,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    tuple_of,
)
from striate.checkpoint import load_checkpoint


def untyped(kind, count, of=None):
    """A tensor (2, 3) as torch writes types without a storage of their own."""
    fields = name("torch.storage", "UntypedStorage"), text("0"), text("cpu"), number(count)
    data = of or tuple_of(text("storage"), *fields) + b"Q"
    sizes = [tuple_of(number(a), number(b)) for a, b in ((2, 3), (3, 1))]
    element = name(*kind.split()) if kind else text("torch.uint16")
    args = tuple_of(data, number(0), *sizes, b"\x89", b"}", element)
    return name("torch._utils", "_rebuild_tensor_v3") + args + b"R"


@pytest.mark.parametrize("make", [torch_zip, torch_legacy])
def test_the_assembled_file_is_right(make):
    (key, value), *others = load(make(GOOD)).items()
    assert key == "w"
    assert not others
    np.testing.assert_array_equal(value.numpy(), np.arange(6, dtype=np.float32).reshape(2, 3))


def test_the_assembled_tensor_without_a_storage_type_is_right():
    (value,) = load(torch_zip(pickled(dictionary(w=untyped("torch uint16", 24))))).values()
    expected = np.frombuffer(DATA, "<u2")[:6].reshape(2, 3)
    np.testing.assert_array_equal(value.numpy(), expected)


# --- Pickles that would run code ----------------------------------------------------------------

SYSTEM = name("os", "system")
COMMAND = tuple_of(text("touch HACKED"))
REBUILD = name("torch._utils", "_rebuild_tensor_v2")
ORDERED = name("collections", "OrderedDict")
SHORT = b"\x8c\x02os\x8c\x06system"

RUNS_CODE = {
    "GLOBAL and REDUCE": (SYSTEM + COMMAND + b"R", "os.system"),
    "STACK_GLOBAL": (SHORT + b"\x93" + COMMAND + b"R", "os.system"),
    "INST": (b"(" + text("touch HACKED") + b"ios\nsystem\n", "INST"),
    "OBJ": (b"(" + SYSTEM + text("touch HACKED") + b"o", "os.system"),
    "NEWOBJ": (name("subprocess", "Popen") + COMMAND + b"\x81", "subprocess.Popen"),
    "NEWOBJ of an allowed name": (ORDERED + b")\x81", "NEWOBJ"),
    "NEWOBJ_EX": (ORDERED + b")}\x92", "NEWOBJ_EX"),
    "BUILD": (tensor() + dictionary(x=text("y")) + b"b", "state"),
    "BUILD of slots": (ORDERED + b")R" + tuple_of(b"N", b"}") + b"b", "state"),
    "eval": (name("builtins", "eval") + tuple_of(text("1")) + b"R", "builtins.eval"),
    "getattr": (name("builtins", "getattr") + tuple_of(b"}", text("x")) + b"R", "getattr"),
    "a dotted attribute": (text("torch") + text("_utils.os.system") + b"\x93", "os.system"),
    "torch's own pickle hole": (
        name("torch.storage", "_load_from_bytes") + COMMAND + b"R",
        "_load_from_bytes",
    ),
    "a whole model": (name("torchvision.models.resnet", "ResNet") + b")\x81", "ResNet"),
    "a nested REDUCE": (SYSTEM + tuple_of(SYSTEM + COMMAND + b"R") + b"R", "os.system"),
    "the result of a call called": (ORDERED + b")R)R", "refused to call dict"),
    "a text called": (text("os.system") + COMMAND + b"R", "refused to call"),
    "a storage's type called": (name("torch", "FloatStorage") + b")R", "FloatStorage"),
    "a list as arguments": (ORDERED + b"]R", "refused to call"),
    "EXT1": (b"\x82\x01", "EXT1"),
    "EXT2": (b"\x83\x01\x00", "EXT2"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "EXT4"),
    "PERSID": (b"Pos.system\n", "PERSID"),
    "BINBYTES": (b"B\x01\x00\x00\x00x", "BINBYTES"),
    "READONLY_BUFFER": (b"\x98", "READONLY_BUFFER"),
    "an unknown opcode": (b"\xff", "0xff"),
    "protocol 0": (b"I1\n", "INT"),
    "a set": (b"\x8f", "EMPTY_SET"),
    "a long line as a name": (b"c" + b"o" * 100_000 + b"\n", "names of less than"),
    "a complex storage": (tensor(of=storage(kind="ComplexFloatStorage")), "ComplexFloatStorage"),
}


@pytest.mark.parametrize("make", [torch_zip, torch_legacy])
@pytest.mark.parametrize("case", RUNS_CODE)
def test_code_is_refused_by_name(make, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body, named = RUNS_CODE[case]
    assert named in refuse(make(pickled(dictionary(w=tensor(), x=body))))
    assert named in refuse(make(pickled(body)))
    assert not (tmp_path / "HACKED").exists()


def test_real_pickles_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Payload:
        def __reduce__(self):
            return (__import__("os").system, ("touch HACKED",))

    for protocol in range(6):
        content = pickle.dumps({"w": Payload()}, protocol)
        for file in (torch_zip(content), torch_legacy(content), content):
            refuse(file)
    refuse(pickle.dumps({"w": [1.0, 2.0]}))
    assert not (tmp_path / "HACKED").exists()


# --- Pickles that would grow, hang or break the interpreter -------------------------------------


def doubled(levels: int, start: bytes = b")") -> bytes:
    """A tuple that nests itself twice at each level: 2^levels leaves."""
    return start + b"".join(b"q%ch%c\x86" % (i, i) for i in range(levels))


MALFORMED = {
    "dict keyed by an exponential tuple": b"}" + doubled(100) + b"Ns",
    "colliding integer keys": b"}("
    + b"".join(number(i * ((1 << 61) - 1)) + b"N" for i in range(1, 1000))
    + b"u",
    "dicts in dicts": (b"}" + text("a")) * 50_000,
    "memo index": b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff",
    "unset memo": b"h\x07",
    "long text that is there": text("x" * (2 << 20)),
    "long text that is not": b"X\xff\xff\xff\xff",
    "long text of 8 bytes' length": b"\x8d" + b"\xff" * 8,
    "long integer": b"\x8b\xff\xff\xff\x7f",
    "bad UTF-8": b"X\x02\x00\x00\x00\xff\xfe",
    "bad UTF-8 in a name": b"c\xff\n\xff\n",
    "surrogates": b"X\x03\x00\x00\x00\xed\xa0\x80",
    "underflow": b"R",
    "underflow of a tuple": b"N\x87",
    "underflow below a mark": b"N(\x85",
    "items without a mark": b"}u",
    "an odd number of items": b"}(" + text("a") + b"u",
    "items of a list": b"](" + text("a") + b"Nu",
    "append to a dict": b"}Na",
    "append to nothing": b"a",
    "two values at the end": b"NN",
    "no value at the end": b"",
    "a mark at the end": b"(N",
    "future protocol": b"\x80\x63N",
    "duplicate key": b"}(" + text("w") + tensor() + text("w") + tensor() + b"u",
    "duplicate key of an OrderedDict": ORDERED
    + tuple_of(b"](" + 2 * tuple_of(text("w"), b"N") + b"e")
    + b"R",
    "float key": b"}G" + bytes(8) + b"Ns",
    "bool key": b"}\x88Ns",
    "OrderedDict of a text": ORDERED + tuple_of(text("abc")) + b"R",
    "OrderedDict of a number": ORDERED + tuple_of(b"K\x05") + b"R",
    "torch.Size of a text": name("torch", "Size") + tuple_of(text("abc")) + b"R",
    "torch.Size of nothing": name("torch", "Size") + b")R",
    "parameter of a text": name("torch._utils", "_rebuild_parameter")
    + tuple_of(text("abc"), b"\x89", b"}")
    + b"R",
    "parameter of nothing": name("torch._utils", "_rebuild_parameter") + b")R",
    "tensor of nothing": REBUILD + b")R",
}


@pytest.mark.parametrize("make", [torch_zip, torch_legacy])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_pickle(make, case):
    refuse(make(pickled(MALFORMED[case])))


ENDLESS = {
    "marks without end": b"(" * 600_000,
    "lists without end": b"]" * 600_000,
    "memo bomb": b"]" + b"".join(b"r" + struct.pack("<I", i) for i in range(600_000)),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_opcodes_are_bounded(case):
    assert "opcodes" in refuse(torch_zip(pickled(ENDLESS[case])))


def test_exponential_values_that_nobody_walks_are_harmless():
    value = load(torch_zip(pickled(dictionary(w=tensor(), meta=doubled(200)))))
    assert list(value) == ["w"]


def test_a_dict_in_itself_is_harmless():
    loop = b"}q\x01(" + text("model") + b"h\x01" + text("w") + tensor() + b"u"
    assert list(load(torch_zip(pickled(loop)))) == ["w"]


BAD_TENSORS = {
    "past the end": tensor(shape=(2, 4), strides=(4, 1)),
    "offset past the end": tensor(offset=1),
    "huge offset": tensor(offset=2**62),
    "negative offset": tensor(offset=-1),
    "negative size": tensor(shape=(-2, 3)),
    "two negative sizes": tensor(shape=(-2, -3)),
    "negative stride": tensor(strides=(-3, 1), offset=3),
    "huge stride": tensor(strides=(2**62, 1)),
    "huge size": tensor(shape=(2**62, 2**62)),
    "huge size of 128 bits": tensor(shape=(2**100, 3)),
    "huge size, no stride": tensor(shape=(2**40,), strides=(0,)),
    "large size, no stride": tensor(shape=(2**28,), strides=(0,)),
    "empty, overflowing": tensor(shape=(2**62, 2**62, 0), strides=(0, 0, 1)),
    "empty, outside": tensor(shape=(0,), strides=(1,), offset=7),
    "nine dimensions": tensor(shape=(1,) * 9, strides=(1,) * 9),
    "a million dimensions": tensor(shape=(1,) * 50_000, strides=(1,) * 50_000),
    "strides of another rank": tensor(strides=(1,)),
    "size as bool": REBUILD
    + tuple_of(storage(), b"K\x00", tuple_of(b"\x88"), tuple_of(b"K\x01"), b"\x89", b"}")
    + b"R",
    "size as float": REBUILD
    + tuple_of(storage(), b"K\x00", tuple_of(b"G" + bytes(8)), tuple_of(b"K\x01"), b"\x89", b"}")
    + b"R",
    "sizes as text": REBUILD + tuple_of(storage(), b"K\x00", text("a"), text("b"), b"\x89") + b"R",
    "no storage": tensor(of=text("storage")),
    "untyped, half an element": untyped("torch uint16", 7),
    "untyped, past the end": untyped("torch uint32", 20),
    "untyped of a typed storage": untyped("torch uint16", 24, of=storage()),
    "untyped of a type with a storage": untyped("torch FloatStorage", 24),
    "untyped of a type that is a text": untyped("", 24),
    "a name as storage": tensor(of=ORDERED),
    "negative count": tensor(of=storage(count=-6)),
    "huge count": tensor(shape=(2**40,), strides=(1,), of=storage(count=2**40)),
    "count of 128 bits": tensor(of=storage(count=2**100)),
    "another count than the data": tensor(of=storage(count=7)),
    "another type than the data": tensor(of=storage(kind="DoubleStorage")),
    "an unknown key": tensor(of=storage(key="1")),
    "a key with ..": tensor(of=storage(key="../data/0")),
    "two counts": tuple_of(storage(), storage(count=5)),
    "two types": tuple_of(storage(), storage(kind="IntStorage")),
}

STORAGE = text("storage")
FLOAT = name("torch", "FloatStorage")
ZERO, CPU, SIX = text("0"), text("cpu"), b"K\x06"
PERSISTENT_IDS = {
    "text": text("os.system") + b"Q",
    "empty tuple": b")Q",
    "another kind": tuple_of(text("module"), FLOAT, ZERO, CPU, SIX) + b"Q",
    "allowed name, not a type": tuple_of(STORAGE, ORDERED, ZERO, CPU, SIX) + b"Q",
    "type as text": tuple_of(STORAGE, text("torch.FloatStorage"), ZERO, CPU, SIX) + b"Q",
    "key as number": tuple_of(STORAGE, FLOAT, b"K\x00", CPU, SIX) + b"Q",
    "count as text": tuple_of(STORAGE, FLOAT, ZERO, CPU, text("6")) + b"Q",
    "view of another": tuple_of(STORAGE, FLOAT, ZERO, CPU, SIX, tuple_of(ZERO, SIX, SIX)) + b"Q",
    "nothing": b"Q",
}


@pytest.mark.parametrize("make", [torch_zip, torch_legacy])
@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensor(make, case):
    refuse(make(pickled(dictionary(w=BAD_TENSORS[case]))))


@pytest.mark.parametrize("make", [torch_zip, torch_legacy])
@pytest.mark.parametrize("case", PERSISTENT_IDS)
def test_persistent_id_abuse(make, case):
    refuse(make(pickled(dictionary(w=tensor(of=PERSISTENT_IDS[case])))))


def test_many_views_of_one_storage_are_bounded():
    count = 1 << 20
    views = {
        f"w{i}": tensor(shape=(count - i,), strides=(1,), of=storage(count=count))
        for i in range(100)
    }
    content = pickled(dictionary(**views))
    assert "bytes in all" in refuse(torch_zip(content, bytes(4 * count)))


# --- Truncated and flipped ----------------------------------------------------------------------


def npz_file() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, w=np.arange(6, dtype=np.float32).reshape(2, 3))
    return buffer.getvalue()


WHOLE = {
    "zip": torch_zip(GOOD),
    "legacy": torch_legacy(GOOD),
    "npz": npz_file(),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_truncated_at_every_byte(kind):
    whole = WHOLE[kind]
    assert list(load(whole)) == ["w"]
    for size in range(len(whole)):
        with pytest.raises(st.FormatError):
            load(whole[:size])
    with pytest.raises(st.FormatError):
        load(whole + b"\0")


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_byte_flipped(kind, mask):
    """A FormatError or, where the format has checksums, nothing but the right elements."""
    whole = WHOLE[kind]
    expected = np.arange(6, dtype=np.float32).reshape(2, 3)
    refused = 0
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= mask
        try:
            tensors = load(bytes(flipped))
        except st.FormatError:
            refused += 1
        else:
            if kind != "legacy":
                np.testing.assert_array_equal(tensors["w"].numpy(), expected)
    assert refused > len(whole) // 2


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"PK", b"PK\3\4", b"\0" * 1000, b"{}", b"\x7fELF"]
)
def test_another_format(content):
    refuse(content)


def test_not_a_regular_file(tmp_path):
    with pytest.raises(st.FormatError):
        load_checkpoint(tmp_path)
    with pytest.raises(st.FormatError):
        load_checkpoint("/dev/zero")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent.pth")
