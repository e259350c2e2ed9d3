"""The command, in processes of its own: training, resuming, interrupting, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import striate as st

pytest.importorskip("sklearn", reason="the command's default data set is scikit-learn's digits")

SHORT = ("--epochs", "3", "--seed", "3", "--batch-size", "64")


def striate(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "striate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


def last_object(result: subprocess.CompletedProcess[str]) -> dict:
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A full run with the defaults: its last line and its checkpoint."""
    path = tmp_path_factory.mktemp("trained") / "digits.safetensors"
    start = time.monotonic()
    report = last_object(striate("train", "lenet5", "--json", "--out", path))
    return report, path, time.monotonic() - start


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Three epochs, uninterrupted, on one thread."""
    path = tmp_path_factory.mktemp("short") / "short.safetensors"
    striate("train", "lenet5", *SHORT, "--threads", "1", "--out", path)
    return path


def test_train_reaches_97_percent_within_a_minute(trained):
    report, path, seconds = trained
    assert report["test_accuracy"] >= 0.97
    assert seconds < 60
    assert report["checkpoint"] == str(path)
    assert path.exists()
    assert report["epochs"] >= 1
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0


def test_threads_do_not_change_the_checkpoint(short, tmp_path):
    path = tmp_path / "two.safetensors"
    striate("train", "lenet5", *SHORT, "--threads", "2", "--out", path)
    assert path.read_bytes() == short.read_bytes()


def test_resumed_equals_uninterrupted(short, tmp_path):
    path = tmp_path / "resumed.safetensors"
    striate("train", "lenet5", *SHORT, "--epochs", "1", "--out", path)
    assert path.read_bytes() != short.read_bytes()
    striate("train", "lenet5", "--resume", path, "--epochs", "3", "--out", path)
    assert path.read_bytes() == short.read_bytes()


def test_interrupted_saves_and_resumes_to_the_same_bytes(tmp_path):
    """SIGINT in the middle of an epoch: exit code 130, and nothing of the run is lost."""
    options = ["--epochs", "4", "--seed", "1", "--batch-size", "8"]
    whole, path = tmp_path / "whole.safetensors", tmp_path / "interrupted.safetensors"
    striate("train", "lenet5", *options, "--out", whole)
    child = subprocess.Popen(
        [sys.executable, "-m", "striate", "train", "lenet5", *options, "--out", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not path.exists() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.03)  # into the second epoch
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume" in out + err
    assert path.read_bytes() != whole.read_bytes()
    striate("train", "lenet5", "--resume", path)
    assert path.read_bytes() == whole.read_bytes()


def test_eval(trained):
    report, path, _ = trained
    result = last_object(striate("eval", "--checkpoint", path, "--json"))
    assert result["test_accuracy"] == report["test_accuracy"]
    text = striate("eval", "--checkpoint", path).stdout
    assert f"{report['test_accuracy'] * 100:.2f}" in text


def test_predict(trained, tmp_path):
    """Held-out digits enlarged to pictures, dark on light and light on dark."""
    image = pytest.importorskip("PIL.Image", reason="predict reads pictures with Pillow")
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits are scikit-learn's")
    digits = datasets.load_digits()
    paths = []
    for i in range(40):
        grey = np.kron(digits.images[i] / 16 * 255, np.ones((12, 12))).astype(np.uint8)
        paths.append(tmp_path / f"{i}.png")
        image.fromarray(grey if i % 2 else 255 - grey).save(paths[-1])
    result = striate("predict", *paths, "--checkpoint", trained[1], "--json")
    predictions = last_object(result)["predictions"]
    assert [p["image"] for p in predictions] == [str(p) for p in paths]
    right = sum(p["class"] == str(digits.target[i]) for i, p in enumerate(predictions))
    assert right >= 36
    assert all(0 < p["probability"] <= 1 for p in predictions)


def test_predict_without_a_picture(trained, tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("nowhere.png", "text.png"):
        result = striate("predict", tmp_path / name, "--checkpoint", trained[1], check=False)
        assert result.returncode == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert name in result.stderr


def test_summary():
    text = striate("summary", "lenet5").stdout
    assert "61,706" in text
    assert "Conv2d-7" in text


def test_doctor():
    report = last_object(striate("doctor", "--json"))
    assert report["isa"] == st.cpu_isa()
    assert report["threads"] >= 1
    assert report["cuda_available"] or report["cuda_reason"]
    text = striate("doctor").stdout
    assert report["isa"] in text
    assert "cuda" in text.lower()


def test_version_and_help():
    assert st.__version__ in striate("--version").stdout
    text = striate("--help").stdout
    for command in ("train", "eval", "predict", "summary", "doctor", "bench"):
        assert command in text
        assert striate(command, "--help").stdout


MISTAKES = {
    "model": (["train", "resnet1"], "resnet1"),
    "option": (["train", "lenet5", "--epoch-count", "3"], "--epoch-count"),
    "command": (["tarin"], "tarin"),
    "nothing": ([], "command"),
    "data": (["train", "lenet5", "--data", "imagenet"], "imagenet"),
    "number": (["train", "lenet5", "--epochs", "many"], "many"),
    "epochs": (["train", "lenet5", "--epochs", "0"], "0"),
    "batch": (["train", "lenet5", "--batch-size", "-4"], "-4"),
    "lr": (["train", "lenet5", "--lr", "nan"], "nan"),
    "threads": (["train", "lenet5", "--threads", "0"], "0"),
    "device": (["train", "lenet5", "--device", "tpu"], "tpu"),
    "no-directory": (["train", "lenet5", "--data", "mnist", "--data-dir", "/nowhere"], "/nowhere"),
    "no-checkpoint": (["eval", "--checkpoint", "/nowhere/x.safetensors"], "/nowhere"),
    "no-resume": (["train", "lenet5", "--resume", "/nowhere/x.safetensors"], "/nowhere"),
    "summary-model": (["summary", "alexnet9"], "alexnet9"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_take_one_line(arguments, fragment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = striate(*arguments, check=False)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert fragment in lines[0]
    assert os.listdir(tmp_path) == []


def test_damaged_checkpoint(trained, tmp_path):
    path = tmp_path / "damaged.safetensors"
    raw = bytearray(trained[1].read_bytes())
    raw[-100] ^= 4
    path.write_bytes(raw)
    for command in (["eval", "--checkpoint"], ["train", "lenet5", "--resume"]):
        result = striate(*command, path, check=False)
        assert result.returncode != 0
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1
        assert "damaged.safetensors" in lines[0]
    assert path.read_bytes() == bytes(raw)


def test_directory_of_unreadable_files(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"nonsense")
    result = striate("train", "lenet5", "--data", "mnist", "--data-dir", tmp_path, check=False)
    assert result.returncode != 0
    assert len(result.stderr.strip().splitlines()) == 1


def test_mnist_trains_through_the_command(data_dir, tmp_path):
    """One epoch on the 60,000 real images; the five of the README reach 98.9 %."""
    report = last_object(
        striate(
            "train", "lenet5", "--data", "mnist", "--data-dir", data_dir / "mnist",
            "--epochs", "1", "--json", "--out", tmp_path / "mnist.safetensors",
        )
    )  # fmt: skip
    assert report["test_accuracy"] >= 0.97
