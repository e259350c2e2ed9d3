"""Data sets, idx files, the loader and the transforms."""

from __future__ import annotations

import gzip
import re
import struct
import threading

import numpy as np
import pytest

import striate as st
from striate import data
from striate.data import transforms

COUNT = 7


def idx(array: np.ndarray, kind: int = 0x08) -> bytes:
    """An idx file: two zeros, element type, rank, big-endian sizes, elements."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A directory with COUNT images of each part, the files' own names."""
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (COUNT, 28, 28)).astype(np.uint8)
        labels = (np.arange(COUNT) % 10).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path


def pixels(dataset) -> np.ndarray:
    return np.stack([np.asarray(dataset[i][0]) for i in range(len(dataset))])


def test_digits():
    pytest.importorskip("sklearn", reason="the digits are scikit-learn's")
    train, test = data.Digits(train=True), data.Digits(train=False)
    assert len(train) + len(test) == 1797
    assert 250 <= len(test) <= 600
    assert list(train.classes) == [str(i) for i in range(10)]
    image, label = train[0]
    assert np.asarray(image).size == 64
    assert 0 <= int(label) < 10
    labels = {int(test[i][1]) for i in range(len(test))}
    assert labels == set(range(10))
    again = data.Digits(train=False)
    assert pixels(test).tobytes() == pixels(again).tobytes()
    held_out = {np.asarray(test[i][0]).tobytes() for i in range(len(test))}
    seen = {np.asarray(train[i][0]).tobytes() for i in range(len(train))}
    assert len(held_out & seen) <= 2  # scikit-learn's copy repeats hardly any image


@pytest.mark.parametrize("make", [data.MNIST, data.FashionMNIST])
def test_idx(mnist, make):
    for train in (True, False):
        dataset = make(mnist, train=train)
        assert len(dataset) == COUNT
        assert len(dataset.classes) == 10
        part = "train" if train else "t10k"
        raw = (mnist / f"{part}-images-idx3-ubyte").read_bytes()[16:]
        expected = np.frombuffer(raw, np.uint8).reshape(COUNT, 28, 28)
        got = pixels(dataset).reshape(COUNT, 28, 28)
        scale = 255 if got.dtype == np.float32 else 1
        np.testing.assert_allclose(got * scale, expected, atol=1e-3)
        assert [int(dataset[i][1]) for i in range(COUNT)] == list(range(COUNT))


def test_gzipped_idx_is_the_same(mnist):
    plain = pixels(data.MNIST(mnist))
    for path in list(mnist.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert pixels(data.MNIST(mnist)).tobytes() == plain.tobytes()


def damage_truncated(path, raw):
    path.write_bytes(raw[:-1])


def damage_trailing(path, raw):
    path.write_bytes(raw + b"\0")


def damage_magic(path, raw):
    path.write_bytes(b"\1" + raw[1:])


def damage_type(path, raw):
    path.write_bytes(raw[:2] + b"\x0d" + raw[3:])


def damage_rank(path, raw):
    path.write_bytes(raw[:3] + b"\xff" + raw[4:])


def damage_empty(path, raw):
    path.write_bytes(b"")


def damage_header(path, raw):
    path.write_bytes(raw[:9])


def damage_count(path, raw):
    path.write_bytes(raw[:4] + b"\xff\xff\xff\xff" + raw[8:])


def damage_text(path, raw):
    path.write_bytes(b"<html>404</html>")


def damage_gzip(path, raw):
    path.unlink()
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw)[:-9])


def damage_gzip_bits(path, raw):
    path.unlink()
    packed = bytearray(gzip.compress(raw))
    packed[len(packed) // 2] ^= 0x10
    path.with_name(path.name + ".gz").write_bytes(packed)


DAMAGE = [value for name, value in list(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("part", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damaged_idx(mnist, damage, part):
    path = mnist / part
    damage(path, path.read_bytes())
    with pytest.raises(st.FormatError) as caught:
        data.MNIST(mnist)
    assert part in str(caught.value)


def test_truncation_at_every_byte_of_the_labels(mnist):
    path = mnist / "train-labels-idx1-ubyte"
    raw = path.read_bytes()
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(st.FormatError):
            data.MNIST(mnist)


def test_labels_that_do_not_fit(mnist):
    path = mnist / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.arange(COUNT - 1, dtype=np.uint8)))
    with pytest.raises(st.FormatError, match=f"{COUNT - 1}"):
        data.MNIST(mnist)
    path.write_bytes(idx(np.full(COUNT, 10, np.uint8)))
    with pytest.raises(st.FormatError, match="10"):
        data.MNIST(mnist)


def test_unreadable_directory(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        if root.name == "file":
            root.write_text("")
        with pytest.raises(OSError, match=re.escape(str(root))):
            data.MNIST(root, download=False)


def test_real_mnist(data_dir):
    train, test = data.MNIST(data_dir / "mnist"), data.MNIST(data_dir / "mnist", train=False)
    assert (len(train), len(test)) == (60_000, 10_000)
    assert [int(test[i][1]) for i in range(5)] == [7, 2, 1, 0, 4]


def test_real_fashion(data_dir):
    test = data.FashionMNIST(data_dir / "fashion", train=False)
    assert len(test) == 10_000
    assert test.classes[int(test[0][1])] == "Ankle boot"


# --- Loader ---------------------------------------------------------------------------------------


class Numbers(data.Dataset):
    classes = ("even", "odd")

    def __init__(self, n=103, broken=None):
        self.n, self.broken = n, broken

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.broken:
            raise KeyError(f"item {i}")
        return np.full((2,), i, np.float32), i % 2


def order(loader):
    return [int(v) for images, _ in loader for v in images.numpy()[:, 0]]


def test_batches():
    batches = list(data.DataLoader(Numbers(10), batch_size=4))
    assert [images.shape for images, _ in batches] == [(4, 2), (4, 2), (2, 2)]
    images, labels = batches[0]
    assert images.dtype is st.float32
    assert labels.dtype is st.int64
    assert labels.numpy().tolist() == [0, 1, 0, 1]
    assert order(data.DataLoader(Numbers(10), batch_size=4)) == list(range(10))


@pytest.mark.parametrize(("n", "size", "drop", "expected"), [
    (10, 4, False, 3), (10, 4, True, 2), (8, 4, False, 2), (8, 4, True, 2), (3, 4, True, 0),
    (0, 4, False, 0),
])  # fmt: skip
def test_length(n, size, drop, expected):
    loader = data.DataLoader(Numbers(n), batch_size=size, drop_last=drop)
    assert len(loader) == len(list(loader)) == expected


def test_shuffling_is_a_function_of_seed_and_epoch():
    def loader(seed):
        return data.DataLoader(Numbers(), batch_size=10, shuffle=True, seed=seed)

    a, b = loader(1), loader(1)
    first = order(a)
    assert sorted(first) == list(range(103))
    assert first != list(range(103))
    assert order(b) == first
    second = order(a)
    assert second != first
    assert sorted(second) == sorted(first)
    assert order(loader(2)) != first
    b.set_epoch(1)
    assert order(b) == second
    b.set_epoch(0)
    assert order(b) == first


@pytest.mark.parametrize("workers", [0, 3])
def test_batches_before_the_first_are_not_read(workers):
    read = []

    class Recorded(Numbers):
        def __getitem__(self, i):
            read.append(i)
            return super().__getitem__(i)

    loader = data.DataLoader(Recorded(), 10, shuffle=True, seed=1, num_workers=workers)
    loader.set_epoch(4)
    whole = order(loader)
    for first in (0, 1, 10, 11):
        read.clear()
        loader.set_epoch(4, first_batch=first)
        assert order(loader) == whole[10 * first :]
        assert sorted(read) == sorted(whole[10 * first :])
    assert len(order(loader)) == 103  # the next epoch begins at its beginning
    for wrong in (-1, 12):
        with pytest.raises(st.ArgumentError, match=f"first_batch from 0 to 11, got {wrong}"):
            loader.set_epoch(4, first_batch=wrong)


def test_iterating_leaves_the_generator_alone():
    state = st.get_rng_state()
    order(data.DataLoader(Numbers(), batch_size=10, shuffle=True, seed=3))
    assert st.get_rng_state() == state


def test_errors_in_a_data_set_arrive():
    loader = data.DataLoader(Numbers(broken=50), batch_size=10)
    seen = []

    def consume():
        for images, _ in loader:
            seen.append(images.shape[0])

    for _ in range(2):  # the loader is not left broken
        with pytest.raises(KeyError, match="item 50"):
            consume()
    assert seen == [10] * 10


def test_breaking_off_leaves_no_thread():
    before = threading.active_count()
    for _ in range(20):
        for _ in data.DataLoader(Numbers(1000), batch_size=2):
            break
    for _ in range(200):
        if threading.active_count() <= before:
            break
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_two_iterators_at_once():
    loader = data.DataLoader(Numbers(10), batch_size=3)
    a, b = iter(loader), iter(loader)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x[0].numpy(), y[0].numpy())


def test_batches_do_not_share_memory():
    batches = [images for images, _ in data.DataLoader(Numbers(), batch_size=10)]
    assert [int(b.numpy()[0, 0]) for b in batches] == list(range(0, 103, 10))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": -1}])
def test_loader_options(options):
    with pytest.raises(st.ArgumentError, match="batch_size"):
        data.DataLoader(Numbers(), **options)


# --- Transforms -----------------------------------------------------------------------------------


def test_transforms(rng):
    image = rng.random((3, 5, 6)).astype(np.float32)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    got = transforms.Normalize(mean, std)(image)
    column = (slice(None), None, None)
    np.testing.assert_allclose(
        got, (image - np.array(mean)[column]) / np.array(std)[column], rtol=1e-5
    )
    padded = transforms.Pad(2)(image)
    np.testing.assert_array_equal(padded, np.pad(image, ((0, 0), (2, 2), (2, 2))))
    both = transforms.Compose([transforms.Pad(2), transforms.Normalize(mean, std)])(image)
    np.testing.assert_allclose(both, transforms.Normalize(mean, std)(padded))
    assert both.dtype == np.float32
