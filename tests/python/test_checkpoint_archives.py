"""Hostile zip archives, of torch and of NumPy: each is a FormatError in bounded time and memory."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib

import pytest

from checkpoint_files import DATA, GOOD, archive, edited, npy_header, npz, refuse, torch_zip

# --- Zip archives -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    ["../a/x", "/etc/passwd", "a/../b", "a//b", "./a", "a/b/", "a\\..\\b", "C:/a", "a/\x1b[2J", ""],
)
def test_member_names(bad):
    good = [("a/data.pkl", GOOD), ("a/data/0", DATA)]
    info = zipfile.ZipInfo("x")
    info.filename = bad
    refuse(archive([*good, (info, b"x")]))


def test_name_not_in_utf8():
    whole = archive([("a/data.pkl", GOOD), ("a/data/0", DATA), ("abcdef", b"")])
    refuse(whole.replace(b"abcdef", b"abc\xffef"))


def test_symbolic_link():
    link = zipfile.ZipInfo("a/data/0")
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    assert "symbolic link" in refuse(archive([("a/data.pkl", GOOD), (link, b"/etc/passwd")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_member():
    members = [("a/data.pkl", GOOD), ("a/data/0", DATA), ("a/data/0", DATA)]
    assert "twice" in refuse(archive(members))


def test_two_pickles():
    refuse(archive([("a/data.pkl", GOOD), ("b/data.pkl", GOOD), ("a/data/0", DATA)]))
    refuse(archive([("a/b/data.pkl", GOOD), ("a/b/data/0", DATA)]))


def test_other_archives():
    refuse(archive([("readme.txt", b"")]))
    refuse(archive([("a/data.pkl", GOOD), ("a/data/0", DATA), ("a/constants.pkl", b"")]))
    refuse(archive([("a/data.pkl", GOOD), ("a/data/0", DATA), ("a/byteorder", b"big")]))
    refuse(archive([("a/data.pkl", GOOD + b"N."), ("a/data/0", DATA)]))
    refuse(torch_zip(GOOD) + torch_zip(GOOD))


def test_wrong_checksum():
    whole = torch_zip(GOOD)
    assert "CRC-32" in refuse(whole.replace(DATA, DATA[:-1] + b"\x01"))
    crc = struct.pack("<L", zlib.crc32(GOOD))
    assert "CRC-32" in refuse(whole.replace(crc, b"abcd"))


def test_compressed_storage():
    options = {"compression": zipfile.ZIP_DEFLATED}
    members = [("a/data.pkl", GOOD), ("a/data/0", bytes(24))]
    assert "compressed" in refuse(archive(members, **options))


def test_pickle_bomb():
    bomb = archive([("a/data.pkl", b"N" * (70 << 20))], compression=zipfile.ZIP_DEFLATED)
    assert "at most" in refuse(bomb)


def test_overlapping_members():
    whole = torch_zip(GOOD)
    assert "overlap" in refuse(edited(whole, "a/byteorder", header=0))
    big = whole.index(b"a/data/0") + 8 + len(DATA)
    assert "overlap" in refuse(edited(whole, "a/data.pkl", packed=big - 40, size=big - 40))


@pytest.mark.parametrize("value", [0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
def test_offsets_outside(value):
    whole = torch_zip(GOOD)
    refuse(edited(whole, "a/data/0", header=value))
    refuse(edited(whole, "a/data/0", size=value, packed=value))
    refuse(edited(whole, "a/data/0", size=value))
    refuse(edited(whole, "a/data.pkl", size=value))


def test_directory_claims():
    whole = bytearray(torch_zip(GOOD))
    for count, size, start in [(0xFFFF, 10, 0), (3, 0xFFFFFFFF, 0), (3, 0, 0xFFFFFFFF), (0, 0, 0)]:
        struct.pack_into("<HHLL", whole, len(whole) - 14, count, count, size, start)
        refuse(bytes(whole))


# --- NumPy --------------------------------------------------------------------------------------


NPZ = {
    "pickled objects": npz(npy_header("|O", shape="(1,)"), pickle.dumps([1])),
    "complex": npz(npy_header("<c8"), bytes(48)),
    "uint64": npz(npy_header("<u8"), bytes(48)),
    "text": npz(npy_header("<U2", shape="(1,)"), bytes(8)),
    "a record": npz("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", bytes(4)),
    "code as header": npz("__import__('os').system('touch HACKED')"),
    "nested header": npz("(" * 60_000),
    "negative size": npz(npy_header(shape="(-2, -3)"), DATA),
    "huge shape": npz(npy_header(shape="(9999999999999999999, 9)"), DATA),
    "overflowing empty shape": npz(npy_header(shape=f"({2**62}, {2**62}, 0)")),
    "a thousand dimensions": npz(npy_header(shape="(" + "1, " * 1000 + ")"), bytes(4)),
    "a number of 10,000 digits": npz(npy_header(shape=f"({'9' * 10_000},)"), DATA),
    "too few bytes": npz(npy_header(), DATA[:-1]),
    "too many bytes": npz(npy_header(), DATA + b"\0"),
    "not .npy": archive([("w.npy", b"hello")]),
    "empty .npy": archive([("w.npy", b"")]),
    "future version": npz(npy_header(), DATA, version=b"\x09\0"),
    "bomb": npz(npy_header(shape=f"({200 << 20},)", descr="|u1"), bytes(200 << 20),
                compression=zipfile.ZIP_DEFLATED),
    "deflated to another size": edited(
        npz(npy_header(), DATA, compression=zipfile.ZIP_DEFLATED), "w.npy", size=1 << 20),
    "LZMA": npz(npy_header(), DATA, compression=zipfile.ZIP_LZMA),
}  # fmt: skip


@pytest.mark.parametrize("case", NPZ)
def test_bad_npz(case):
    refuse(NPZ[case])
