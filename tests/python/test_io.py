"""Checkpoints: safetensors both ways, damage of every kind, atomic replacement."""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

import striate as st
from devices import host
from striate import nn
from striate._core import memory_stats

DTYPES = {
    "F32": np.float32,
    "F64": np.float64,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def small():
    return {
        "weight": st.tensor(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "step": st.tensor(np.array(7, np.int64)),
    }


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def same(a, b):
    assert set(a) == set(b)
    for key in a:
        assert a[key].dtype is b[key].dtype
        assert a[key].shape == b[key].shape
        assert host(a[key]).tobytes() == host(b[key]).tobytes()


def test_round_trip(path, on):
    tensors = {
        **{name: on.tensor(np.arange(24).reshape(2, 3, 4).astype(d)) for name, d in DTYPES.items()},
        "empty": on.zeros((0, 3)),
        "scalar": on.tensor(1.5),
        "view": on.arange(24).reshape(4, 6).permute(1, 0)[1:3],
        "channels_last": on.rand((1, 3, 4, 5)).contiguous(channels_last=True),
        "ключ/名": on.ones((1,)),
    }
    st.save(tensors, path)
    same(st.load(path), tensors)


def test_bfloat16_round_trip(path, on):
    x = on.randn((5, 7)).to(st.bfloat16)
    st.save({"x": x}, path)
    got = st.load(path)["x"]
    assert got.dtype is st.bfloat16
    np.testing.assert_array_equal(host(got), host(x))


def test_metadata(path):
    st.save(small(), path, metadata={"epoch": "3", "note": 'quote " and \\ and é and \n'})
    tensors, metadata = st.load(path, with_metadata=True)
    same(tensors, small())
    assert metadata["epoch"] == "3"
    assert metadata["note"] == 'quote " and \\ and é and \n'


def test_bytes_depend_on_contents_alone(path, tmp_path):
    st.save(small(), path, metadata={"b": "2", "a": "1"})
    other = tmp_path / "other"
    reordered = dict(reversed(small().items()))
    st.save(reordered, other, metadata={"a": "1", "b": "2"})
    assert path.read_bytes() == other.read_bytes()


def test_the_safetensors_package_reads_ours(path):
    safetensors = pytest.importorskip(
        "safetensors.numpy", reason="the safetensors package is the other side"
    )
    tensors = {name: st.tensor(np.arange(6).astype(d)) for name, d in DTYPES.items()}
    tensors["odd"] = st.tensor(np.arange(5, dtype=np.uint8))  # alignment after it
    st.save(tensors, path)
    theirs = safetensors.load_file(path)
    assert set(theirs) == set(tensors)
    for name, array in theirs.items():
        np.testing.assert_array_equal(array, tensors[name].numpy())


def test_we_read_the_safetensors_packages(path):
    safetensors = pytest.importorskip(
        "safetensors.numpy", reason="the safetensors package is the other side"
    )
    arrays = {name: np.arange(12).reshape(3, 4).astype(d) for name, d in DTYPES.items()}
    arrays["odd"], arrays["empty"] = np.arange(5, dtype=np.uint8), np.zeros((0, 2), np.float32)
    safetensors.save_file(arrays, path, metadata={"from": "elsewhere"})
    tensors, metadata = st.load(path, with_metadata=True)
    assert set(tensors) == set(arrays)
    assert metadata["from"] == "elsewhere"
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)
        assert tensors[name].shape == array.shape


# --- Damage ---------------------------------------------------------------------------------------


def test_truncation_at_every_byte(path):
    st.save(small(), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(st.FormatError):
            st.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(st.FormatError):
        st.load(path)
    path.write_bytes(whole)
    same(st.load(path), small())


def test_every_flipped_bit(path):
    st.save(small(), path, metadata={"epoch": "3"})
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(st.FormatError):
            st.load(path)


def test_random_bytes(path):
    generator = random.Random(0)
    st.save(small(), path)
    whole = path.read_bytes()
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 20)):
            damaged[generator.randrange(len(whole))] = generator.randrange(256)
        if bytes(damaged) == whole:
            continue
        path.write_bytes(damaged)
        with pytest.raises(st.FormatError):
            st.load(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD = {
    "not-json": (b"{", b""),
    "not-an-object": ([1, 2], b""),
    "trailing-json": (b"{} {}", b""),
    "bad-utf8": (b'{"\xff\xfe": 1}', b""),
    "no-dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "no-shape": ({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, b"\0" * 8),
    "no-offsets": ({"a": {"dtype": "F32", "shape": [2]}}, b"\0" * 8),
    "unknown-dtype": ({"a": {**ENTRY, "dtype": "F8_E4M3"}}, b"\0" * 8),
    "dtype-not-text": ({"a": {**ENTRY, "dtype": 32}}, b"\0" * 8),
    "negative-size": ({"a": {**ENTRY, "shape": [-2]}}, b"\0" * 8),
    "fractional-size": ({"a": {**ENTRY, "shape": [2.5]}}, b"\0" * 8),
    "size-overflow": ({"a": {**ENTRY, "shape": [2**62, 4]}}, b"\0" * 8),
    "size-too-long": ({"a": {**ENTRY, "shape": [10**30]}}, b"\0" * 8),
    "rank-9": ({"a": {**ENTRY, "shape": [1] * 8 + [2]}}, b"\0" * 8),
    "wrong-extent": ({"a": {**ENTRY, "shape": [3]}}, b"\0" * 8),
    "one-offset": ({"a": {**ENTRY, "data_offsets": [0]}}, b"\0" * 8),
    "swapped-offsets": ({"a": {**ENTRY, "data_offsets": [8, 0]}}, b"\0" * 8),
    "negative-offset": ({"a": {**ENTRY, "data_offsets": [-8, 0]}}, b"\0" * 8),
    "outside": ({"a": {**ENTRY, "data_offsets": [4, 12]}}, b"\0" * 8),
    "overlap": ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, b"\0" * 12),
    "same-place": ({"a": ENTRY, "b": ENTRY}, b"\0" * 8),
    "hole": ({"a": ENTRY, "b": {**ENTRY, "data_offsets": [12, 20]}}, b"\0" * 20),
    "hole-first": ({"a": {**ENTRY, "data_offsets": [4, 12]}}, b"\0" * 12),
    "trailing-data": ({"a": ENTRY}, b"\0" * 9),
    "duplicate": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        b"\0\0",
    ),
    "metadata-not-text": ({"__metadata__": {"a": 1}, "a": ENTRY}, b"\0" * 8),
    "metadata-not-object": ({"__metadata__": "a", "a": ENTRY}, b"\0" * 8),
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
    "deep-objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b""),
    "infinity": (b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', b"\0" * 8),
    "nul": (b"{}\0", b""),
}


@pytest.mark.parametrize(("header", "data"), BAD.values(), ids=BAD)
def test_malformed(path, header, data):
    write(path, header, data)
    with pytest.raises(st.FormatError) as caught:
        st.load(path)
    assert "model.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_huge_header_is_refused_before_allocating(path):
    for length in (2**63, 2**64 - 1, 2**40, 10**9):
        path.write_bytes(struct.pack("<Q", length) + b"{}")
        before = memory_stats()["peak_bytes"]
        with pytest.raises(st.FormatError):
            st.load(path)
        assert memory_stats()["peak_bytes"] == before


def test_other_formats(path):
    for content in (b"", b"\x80\x04\x95", b"PK\x03\x04" + b"\0" * 100, b"\x93NUMPY" + b"\0" * 99):
        path.write_bytes(content)
        with pytest.raises(st.FormatError):
            st.load(path)


def test_a_well_formed_file_without_checksum_loads(path):
    write(path, {"a": ENTRY}, np.array([1, 2], np.float32).tobytes())
    np.testing.assert_array_equal(st.load(path)["a"].numpy(), [1, 2])


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        st.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        st.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        st.save(small(), tmp_path / "no" / "such" / "directory")


def test_save_refuses_what_it_cannot_name(path):
    for bad in ({"__metadata__": st.ones((1,))}, {"a": "text"}, {1: st.ones((1,))}):
        with pytest.raises((st.Error, TypeError)):
            st.save(bad, path)
    assert not path.exists()


# --- Replacement ----------------------------------------------------------------------------------


def test_failed_save_leaves_the_old_file(path, tmp_path):
    st.save(small(), path)
    before = path.read_bytes()
    with pytest.raises((st.Error, TypeError)):
        st.save({"a": object()}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_full_disk_leaves_the_old_file(path, tmp_path):
    """A limit on the size of files stands for a full disk."""
    st.save(small(), path)
    before = path.read_bytes()
    code = (
        "import resource, signal, sys, striate as st\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    st.save({'x': st.zeros((1000, 1000))}, sys.argv[1])\n"
        "except OSError as error:\n"
        "    sys.exit(0 if error.errno else 1)\n"
        "sys.exit(2)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == 0
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_kill_during_save(path):
    """After SIGKILL at any moment the file is one of the two versions, whole."""
    code = (
        "import sys, striate as st\n"
        "versions = [{'x': st.full((200_000,), i)} for i in range(2)]\n"
        "st.save(versions[0], sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    for version in versions:\n"
        "        st.save(version, sys.argv[1])\n"
    )
    generator = random.Random(1)
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(generator.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        x = st.load(path)["x"].numpy()
        assert x.shape == (200_000,)
        assert (x == x[0]).all()


def test_save_keeps_permissions_and_follows_the_umask(path):
    st.save(small(), path)
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_model_round_trip(path, on):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).to(
        on.device
    )
    model(on.rand((4, 1, 4, 4)))
    st.save(model.state_dict(), path)
    other = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)).to(
        on.device
    )
    other.load_state_dict(st.load(path))
    same(other.state_dict(), model.state_dict())
    x = on.rand((2, 1, 4, 4))
    assert host(model.eval()(x)).tobytes() == host(other.eval()(x)).tobytes()
