"""CIFAR-10's files, the random transforms, and training a CIFAR model with and without weights."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest

import striate as st
from striate import data, models, train
from striate.data import transforms
from striate.data.dataset import SampleRandom
from striate.train import transfer

COUNT = 40
NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


def records(seed: int, count: int = COUNT) -> bytes:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(count) % 10
    return rows.tobytes()


@pytest.fixture
def cifar(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(records(seed))
    return tmp_path


def test_cifar10_from_files_and_archive(cifar, tmp_path):
    folder = cifar / "cifar-10-batches-bin"
    archive = tmp_path / "archive"
    archive.mkdir()
    with tarfile.open(archive / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name in NAMES:
            tar.add(folder / name, f"cifar-10-batches-bin/{name}")
        tar.addfile(tarfile.TarInfo("../../outside"), io.BytesIO())
    for is_train, count in ((True, 5 * COUNT), (False, COUNT)):
        sets = [data.CIFAR10(root, train=is_train) for root in (cifar, folder, archive)]
        for dataset in sets:
            assert dataset.images.shape == (count, 3, 32, 32)
            assert dataset.images.dtype == np.uint8
            assert np.array_equal(dataset.images, sets[0].images)
            assert np.array_equal(dataset.labels, np.arange(count) % COUNT % 10)
    rows = np.frombuffer(records(5), np.uint8).reshape(COUNT, 3073)
    assert np.array_equal(data.CIFAR10(cifar, train=False).images[3].ravel(), rows[3, 1:])
    assert not (tmp_path.parent / "outside").exists()


def opcode(code: bytes, data: bytes, size: int) -> bytes:
    return code + len(data).to_bytes(size, "little") + data


def python2_pickle(rows: np.ndarray) -> bytes:
    """A batch as Python 2.7 and NumPy wrote it: texts as bytes, an array by _reconstruct."""
    text = lambda value: opcode(b"U", value, 1)  # noqa: E731
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nK\x00\x85"
        + text(b"b")
        + b"tR("
        b"K\x01(M" + len(rows).to_bytes(2, "little") + b"M\x00\x0ct"
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + opcode(b"T", rows[:, 1:].tobytes(), 4)
        + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in rows[:, 0]) + b"e"
    names = b"](" + b"".join(text(b"s_%06d.png" % i) for i in range(len(rows))) + b"e"
    entries = {b"data": array, b"labels": labels, b"filenames": names, b"batch_label": text(b"1")}
    body = b"".join(text(key) + value for key, value in entries.items())
    return b"\x80\x02}q\x00(" + body + b"u."


@pytest.fixture
def python_version(tmp_path):
    folder = tmp_path / "python" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        rows = np.frombuffer(records(seed), np.uint8).reshape(-1, 3073)
        (folder / name.removesuffix(".bin")).write_bytes(python2_pickle(rows))
    return folder


def test_cifar10_python_version(cifar, python_version, tmp_path):
    archive = tmp_path / "python_archive"
    archive.mkdir()
    with tarfile.open(archive / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(python_version, "cifar-10-batches-py")
    for is_train in (True, False):
        expected = data.CIFAR10(cifar, train=is_train)
        for root in (python_version, python_version.parent, archive):
            dataset = data.CIFAR10(root, train=is_train)
            assert np.array_equal(dataset.images, expected.images)
            assert np.array_equal(dataset.labels, expected.labels)


def test_cifar10_python_version_damaged(python_version):
    file = python_version / "test_batch"
    whole = file.read_bytes()
    for size in (0, 1, 2, 10, 60, 120, 200, 1000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(st.FormatError, match=r"test_batch: pickle: "):
            data.CIFAR10(python_version, train=False)
    for bad, message in (
        (b"\x80\x02cos\nsystem\nU\x02ls\x85R.", "refused the name 'os.system'"),
        (whole.replace(b"\nndarray\n", b"\nmemmap\n"), "refused the name 'numpy.memmap'"),
        (whole.replace(b"u1", b"O8"), "refused to call"),
        (whole.replace(b"M\x00\x0ct", b"M\x01\x0ct"), "as many bytes"),
        (b"\x80\x02}.", "'data'"),
    ):
        assert bad != whole
        file.write_bytes(bad)
        with pytest.raises(st.FormatError, match=message):
            data.CIFAR10(python_version, train=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got 0 bytes"),
        (records(0)[:-1], f"got {COUNT * 3073 - 1} bytes"),
        (b"\x0a" + records(0)[1:], "expected labels below 10, got 10"),
    ],
)
def test_cifar10_damaged(cifar, content, message):
    file = cifar / "cifar-10-batches-bin" / "test_batch.bin"
    file.write_bytes(content)
    with pytest.raises(st.FormatError, match=f"{file}.*{message}"):
        data.CIFAR10(cifar, train=False)


def test_cifar10_missing(tmp_path):
    with pytest.raises(
        data.cifar.DataNotFoundError, match=r"expected test_batch\[\.bin\].*download"
    ):
        data.CIFAR10(tmp_path, train=False)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(st.FormatError, match="damaged archive"):
        data.CIFAR10(tmp_path, train=False)


@pytest.mark.parametrize(
    "transform", [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
)
def test_random_transforms_depend_on_seed_epoch_and_index_alone(cifar, transform):
    dataset = data.CIFAR10(cifar, transform=transforms.Compose([transform, transforms.ToTensor()]))

    def images(batch_size, seed=1, epoch=2, prefetch=0):
        loader = data.DataLoader(dataset, batch_size, seed=seed, prefetch=prefetch)
        loader.set_epoch(epoch)
        return np.concatenate([batch.numpy() for batch, _ in loader])

    one = images(1)
    assert one.tobytes() == images(64).tobytes() == images(7, prefetch=3).tobytes()
    assert one.tobytes() != images(64, seed=2).tobytes()
    assert one.tobytes() != images(64, epoch=3).tobytes()


def test_random_crop_and_flip_move_pixels_only():
    images = np.arange(1, 3 * 2 * 4 * 5 + 1, dtype=np.uint8).reshape(3, 2, 4, 5)
    draw = SampleRandom(0, 0, np.arange(3))
    for original, flipped in zip(
        images, transforms.RandomHorizontalFlip(1.0)(images, draw), strict=True
    ):
        assert np.array_equal(flipped, original[..., ::-1])
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    crops = transforms.RandomCrop(4, padding=1)(images, draw)
    for crop, source in zip(crops, padded, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(source, (4, 4), axis=(1, 2))
        assert any(np.array_equal(crop, windows[:, y, x]) for y in range(3) for x in range(4))
    with pytest.raises(st.ShapeError, match="at least 9 x 9"):
        transforms.RandomCrop(9)(images, draw)
    with pytest.raises(st.ArgumentError, match="transform is random"):
        transforms.Compose([transforms.RandomCrop(4)])(images)
    flips = transforms.RandomHorizontalFlip(0.5)(
        np.tile(images[:1], (1000, 1, 1, 1)), SampleRandom(0, 0, np.arange(1000))
    )
    assert 400 < (flips[:, 0, 0, 0] != images[0, 0, 0, 0]).sum() < 600


def settings(**options):
    return train.recipe("resnet20", "cifar10", epochs=2, batch_size=32, lr=0.05, **options)


def trained(cifar, tmp_path, options, weights=None, stop_at=None, threads=2):
    """The checkpoint's bytes; with stop_at, of a run that was stopped there and resumed."""
    st.set_num_threads(threads)
    path = tmp_path / "run.safetensors"
    chosen = settings(**options)
    dataset = train.load_dataset("resnet20", "cifar10", cifar, train=True, augment=chosen.augment)
    trainer = train.Trainer(chosen, dataset, weights=weights)

    def stop(progress):
        trainer.stop_requested = progress.epoch == 1 and progress.step == stop_at

    while not trainer.finished and not trainer.stop_requested:
        trainer.run_epoch(stop)
        trainer.save(path)
    if stop_at is not None:
        trainer = train.Trainer(chosen, dataset, weights=weights)
        trainer.load(path)
        while not trainer.finished:
            trainer.run_epoch()
        trainer.save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "options", [{}, {"freeze": "until=layer2"}, {"freeze": "backbone", "augment": False}], ids=str
)
def test_resumed_run_ends_with_the_same_bytes(cifar, tmp_path, restore_threads, options):
    weights = models.resnet20().state_dict()
    whole = trained(cifar, tmp_path, options, weights)
    assert trained(cifar, tmp_path, options, weights, stop_at=3) == whole
    assert trained(cifar, tmp_path, options, weights, threads=1) == whole


@pytest.mark.parametrize(
    ("freeze", "changed"),
    [
        ("none", {"conv1", "bn1", "layer1", "layer2", "layer3", "linear"}),
        ("until=layer2", {"layer3", "linear"}),
        ("backbone", {"linear"}),
    ],
)
def test_frozen_parts_keep_every_bit(cifar, freeze, changed):
    weights = models.resnet20(num_classes=7).state_dict()
    chosen = settings(freeze=freeze, augment=False)
    dataset = train.load_dataset("resnet20", "cifar10", cifar, train=True)
    trainer = train.Trainer(chosen, dataset, weights=weights)
    before = {k: x.numpy().tobytes() for k, x in trainer.model.state_dict().items()}
    for key, tensor in weights.items():
        if not key.startswith("linear."):
            assert before[key] == tensor.numpy().tobytes()
    trainer.run_epoch()
    after = {k: x.numpy().tobytes() for k, x in trainer.model.state_dict().items()}
    assert {key.split(".")[0] for key in after if after[key] != before[key]} == changed


def test_features_times_head_is_the_model():
    model = models.resnet20().eval()
    x = st.randn(2, 3, 32, 32)
    with st.no_grad():
        features = model.fuse().forward_features(x)
        scores = model.forward_head(features)
        assert features.shape == (2, 64)
        assert abs((scores - model(x)).numpy()).max() < 1e-4


def test_bad_options():
    with pytest.raises(st.ArgumentError, match="freeze of none, backbone or until="):
        settings(freeze="all")
    with pytest.raises(st.ArgumentError, match="no augmentation"):
        settings(freeze="backbone", augment=True)
    assert not settings(freeze="backbone").augment
    with pytest.raises(st.ArgumentError, match=r"layer of conv1, .*got 'layer9'"):
        transfer.freeze(models.resnet20(), "until=layer9")
    with pytest.raises(st.ArgumentError, match="left to train"):
        transfer.freeze(models.resnet20(), "until=linear")
    with pytest.raises(st.ShapeError, match=r"missing key layer1\.0"):
        transfer.load_backbone(models.resnet20(), {"conv1.weight": st.ones(16, 3, 3, 3)})
    with pytest.raises(st.ArgumentError, match="size 32 for lenet5, got 28"):
        train.image_transform("lenet5", "cifar10", size=28)


def test_command_line(cifar, tmp_path, capsys):
    from PIL import Image

    from striate.cli.main import main

    weights, out = tmp_path / "weights.safetensors", tmp_path / "out.safetensors"
    st.save(models.resnet20().state_dict(), weights)
    common = ["train", "resnet20", "--data", "cifar10", "--data-dir", str(cifar), "--json"]
    arguments = [*common, "--weights", str(weights), "--freeze", "backbone", "--epochs", "1"]
    assert main([*arguments, "--out", str(out)]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["checkpoint"] == str(out)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (60, 40), "red").save(picture)
    assert main(["predict", str(picture), "--checkpoint", str(out), "--json"]) == 0
    named = json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"][0]["class"]
    assert named in data.CIFAR10.classes
    assert main([*common, "--resume", str(out), "--epochs", "3"]) == 2
    assert "one-cycle" in capsys.readouterr().err
    assert main([*common, "--freeze", "until=nothing"]) == 2
    assert "expected a layer of conv1" in capsys.readouterr().err
