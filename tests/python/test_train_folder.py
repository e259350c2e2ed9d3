"""The command on a folder of pictures: splitting, training, interrupting, predicting, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import striate as st
from striate import data, models, train
from striate.cli.main import main

image = pytest.importorskip("PIL.Image", reason="pictures are decoded by Pillow")

COLOURS = {"blue": (30, 40, 200), "green": (40, 180, 60), "red": (200, 30, 30)}
EVERYTHING = (
    "--size", "16", "--batch-size", "4", "--optimizer", "adamw", "--lr", "0.003",
    "--lr-backbone", "0.002", "--warmup-epochs", "1", "--no-bias-decay", "--clip-norm", "1",
    "--label-smoothing", "0.1", "--mixup", "0.2", "--ema", "0.9",
)  # fmt: skip


def paint(path, colour, seed, count):
    """Noisy pictures of one colour, of different sizes."""
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    for i in range(count):
        shape = (int(rng.integers(20, 40)), int(rng.integers(20, 40)), 3)
        pixels = np.clip(np.array(colour) + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)
        image.fromarray(pixels).save(path / f"{i:02}.png")


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """One directory per class, ten pictures in each."""
    root = tmp_path_factory.mktemp("flat")
    for seed, (name, colour) in enumerate(COLOURS.items()):
        paint(root / name, colour, seed, 10)
    return root


@pytest.fixture
def split(tmp_path):
    for part, count, seed in (("train", 6, 10), ("val", 3, 20)):
        for name, colour in COLOURS.items():
            paint(tmp_path / part / name, colour, seed, count)
    return tmp_path


def names(subset):
    return [subset.dataset.samples[i][0].name for i in subset.indices]


def test_a_fifth_of_each_class_is_held_out(flat):
    learnt, held_out = (train.load_folder(flat, train=which) for which in (True, False))
    assert learnt.classes == held_out.classes == sorted(COLOURS)
    assert not set(learnt.indices) & set(held_out.indices)
    labels = [held_out.dataset.labels[i] for i in held_out.indices]
    assert np.bincount(labels).tolist() == [2, 2, 2]
    assert len(learnt) == 24
    again = train.load_folder(flat, train=False)
    assert again.indices.tolist() == held_out.indices.tolist()


def test_the_split_follows_the_names(tmp_path):
    """A picture that is added leaves most others where they were."""
    for name, colour in COLOURS.items():
        paint(tmp_path / name, colour, 0, 20)
    before = names(train.load_folder(tmp_path, train=False))
    (tmp_path / "red" / "00.png").rename(tmp_path / "red" / "new.png")
    after = names(train.load_folder(tmp_path, train=False))
    assert len(set(before) - set(after)) <= 1


def test_train_and_val_are_taken_as_they_are(split):
    assert len(train.load_folder(split, train=True)) == 18
    assert len(train.load_folder(split, train=False)) == 9
    (split / "val" / "green").rename(split / "val" / "grass")
    with pytest.raises(st.ArgumentError, match=r"the same classes in .*, got grass, green"):
        train.load_folder(split, train=True)


def run(*arguments, capsys):
    """Exit code, the JSON object if there is one, and standard error."""
    code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    return code, json.loads(lines[-1]) if lines else None, captured.err


def test_train_eval_predict(flat, tmp_path, capsys):
    out = tmp_path / "colours.safetensors"
    options = ("--data", "folder", "--data-dir", flat, "--size", "16", "--epochs", "6")
    code, report, err = run(
        "train", "resnet20", *options, "--batch-size", "8", "--out", out, capsys=capsys
    )
    assert code == 0, err
    assert report["test_accuracy"] == 1.0
    for name in ("checkpoint", "best", "log", "card"):
        assert os.path.exists(report[name])

    for checkpoint in (out, report["best"]):
        code, result, _ = run("eval", "--checkpoint", checkpoint, "--data-dir", flat, capsys=capsys)
        assert code == 0
        assert result["test_accuracy"] == 1.0

    photo = tmp_path / "wide.jpg"
    image.new("RGB", (90, 41), COLOURS["green"]).save(photo)
    code, result, _ = run(
        "predict", photo, flat / "red" / "03.png", "--checkpoint", out, capsys=capsys
    )
    assert code == 0
    assert [p["class"] for p in result["predictions"]] == ["green", "red"]

    other = tmp_path / "other"
    for name in ("cyan", "magenta", "yellow"):
        paint(other / name, (90, 90, 90), 0, 2)
    code, _, err = run("eval", "--checkpoint", out, "--data-dir", other, capsys=capsys)
    assert code == 2
    assert "blue green red, got cyan magenta yellow" in err


@pytest.mark.parametrize("model", ["linear_classifier", "lenet5", "alexnet"])
def test_other_models_take_photographs(flat, tmp_path, capsys, model):
    size = {"linear_classifier": 16, "lenet5": 32, "alexnet": 63}[model]
    code, report, err = run(
        "train", model, "--data", "folder", "--data-dir", flat, "--size", size, "--epochs", "1",
        "--freeze", "until=features" if model == "alexnet" else "none",
        "--out", tmp_path / "x.safetensors", capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    assert ("keep their random ones" in err) == (model == "alexnet")
    code, _, _ = run("eval", "--checkpoint", report["best"], "--data-dir", flat, capsys=capsys)
    assert code == 0


def test_a_new_task_from_a_checkpoint_of_another(flat, split, tmp_path, capsys):
    """The classes may differ; the head is drawn anew and learns on cached features."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    options = ("--data", "folder", "--size", "16", "--batch-size", "8")
    assert run(
        "train", "resnet20", *options, "--data-dir", flat, "--epochs", "4", "--out", first,
        capsys=capsys,
    )[0] == 0  # fmt: skip
    for part in ("train", "val"):
        paint(split / part / "yellow", (220, 210, 40), 3, 4)
    code, report, err = run(
        "train", "resnet20", *options, "--data-dir", split, "--weights", first,
        "--freeze", "backbone", "--epochs", "30", "--lr", "0.1", "--out", second,
        capsys=capsys,
    )  # fmt: skip
    assert code == 0, err
    assert report["test_accuracy"] > 0.8
    a, b = st.load(first), st.load(second)
    assert a["model.layer3.2.conv2.weight"].tolist() == b["model.layer3.2.conv2.weight"].tolist()
    assert b["model.linear.weight"].shape == (4, 64)
    assert "first.safetensors (SHA-256" in (tmp_path / "second.md").read_text()


def test_interrupted_with_everything_on_ends_with_the_same_bytes(flat, tmp_path):
    def command(*arguments):
        return [sys.executable, "-m", "striate", "train", "resnet20", *map(str, arguments)]

    common = ("--data", "folder", "--data-dir", flat, "--epochs", "15", *EVERYTHING)
    whole, path = tmp_path / "whole" / "x.safetensors", tmp_path / "x.safetensors"
    subprocess.run(command(*common, "--out", whole), check=True, capture_output=True)
    child = subprocess.Popen(
        command(*common, "--out", path, "--workers", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not path.exists() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert f"--resume {path} --data-dir {flat}" in out
    assert path.read_bytes() != whole.read_bytes()
    subprocess.run(command("--resume", path, "--data-dir", flat), check=True, capture_output=True)
    for name in ("x.safetensors", "x.best.safetensors", "x.csv", "x.jsonl", "x.md"):
        assert (tmp_path / name).read_bytes() == (whole.parent / name).read_bytes(), name


def test_a_resumed_epoch_reads_only_what_is_left(flat, tmp_path, monkeypatch):
    settings = train.recipe("resnet20", "folder", epochs=1, batch_size=4, size=16)
    images = train.load_dataset("resnet20", "folder", flat, train=True, augment=True, size=16)
    trainer = train.Trainer(settings, images)

    def stop(progress):
        trainer.stop_requested = progress.step == 4

    assert trainer.run_epoch(stop) is None
    trainer.save(tmp_path / "x.safetensors")
    trainer = train.Trainer(settings, images)
    trainer.load(tmp_path / "x.safetensors")
    read = []
    decode = data.folder.read_image
    monkeypatch.setattr(data.folder, "read_image", lambda path: read.append(path) or decode(path))
    assert trainer.run_epoch().images == 24
    assert len(read) == 24 - 4 * 4


def test_mistakes_name_what_is_wrong(flat, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    only = tmp_path / "only"
    paint(only / "one", (1, 2, 3), 0, 3)
    single = tmp_path / "single"
    for name in ("a", "b"):
        paint(single / name, (1, 2, 3), 0, 1)
    hollow = tmp_path / "hollow"
    (hollow / "nothing").mkdir(parents=True)
    folder = ("train", "resnet20", "--data", "folder")
    other = tmp_path / "other.safetensors"
    st.save(models.lenet5().state_dict(), other)
    cases = [
        (folder, "--data-dir"),
        ((*folder, "--data-dir", flat, "--weights", other), "weights of resnet20, got other.safe"),
        (("train", "lenet5", "--data", "mnist", "--data-dir", empty), "as leaving out --data-dir"),
        ((*folder, "--data-dir", tmp_path / "nowhere"), "expected a directory, got"),
        ((*folder, "--data-dir", empty), "one for each class"),
        ((*folder, "--data-dir", hollow), "nothing"),
        ((*folder, "--data-dir", only), "at least two classes"),
        ((*folder, "--data-dir", single), "at least two images of some class"),
        ((*folder, "--data-dir", flat, "--size", "0"), "size of at least 1"),
        ((*folder, "--data-dir", flat, "--lr", "0"), "lr above 0, got 0"),
        ((*folder, "--data-dir", flat, "--clip-norm", "-1"), "clip_norm above 0, got -1"),
        ((*folder, "--data-dir", flat, "--weights", "nowhere.pth"), "nowhere.pth"),
        ((*folder, "--data-dir", flat, "--out", tmp_path / "x.md"), "x.md"),
    ]
    before = sorted(os.listdir(tmp_path))
    for arguments, fragment in cases:
        code, _, err = run(*arguments, capsys=capsys)
        assert code == 2, arguments
        assert fragment in err
    assert sorted(os.listdir(tmp_path)) == before
    with pytest.raises(SystemExit):
        main([*folder, "--optimizer", "lion"])
    assert "lion" in capsys.readouterr().err


def test_a_broken_picture_is_named(split, tmp_path, capsys):
    (split / "train" / "red" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code, _, err = run(
        "train", "resnet20", "--data", "folder", "--data-dir", split, "--size", "16",
        "--out", tmp_path / "x.safetensors", capsys=capsys,
    )  # fmt: skip
    assert code == 2
    assert os.path.join("train", "red", "01.png") in err


def test_resuming_with_other_classes_is_refused(split, tmp_path, capsys):
    out = tmp_path / "x.safetensors"
    options = ("--data", "folder", "--data-dir", split)
    assert (
        run(
            "train",
            "resnet20",
            *options,
            "--size",
            "16",
            "--epochs",
            "1",
            "--out",
            out,
            capsys=capsys,
        )[0]
        == 0
    )
    kept = out.read_bytes()
    for part in ("train", "val"):
        (split / part / "red").rename(split / part / "rose")
    code, _, err = run("train", "resnet20", "--resume", out, *options, capsys=capsys)
    assert code == 2
    assert "expected classes ['blue', 'green', 'red'] as in the checkpoint" in err
    assert out.read_bytes() == kept


def test_subset():
    whole = data.ArrayDataset(np.arange(12).reshape(6, 1, 1, 2), np.arange(6))
    part = data.Subset(whole, [4, 1])
    assert len(part) == 2
    assert part[0][1] == 4
    images, labels = part.batch(np.array([1, 0]))
    assert labels.tolist() == [1, 4]
    assert images.numpy()[0].ravel().tolist() == [2, 3]
    with pytest.raises(st.ArgumentError, match="indices from 0 to 5, got 1 to 6"):
        data.Subset(whole, [6, 1])
