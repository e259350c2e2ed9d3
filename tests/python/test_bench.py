"""The benchmark commands with tiny budgets: what they report, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from striate.bench import nets
from striate.bench.processes import Worker


def bench(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "striate", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert not check or result.returncode == 0, result.stderr
    return result


def report(*arguments: str) -> dict:
    return json.loads(bench(*arguments, "--json", "--seconds", "0.05").stdout.splitlines()[-1])


# --- Networks -----------------------------------------------------------------------------------


def test_nets_without_peers():
    result = report(
        *("nets", "--model", "lenet5,mlp", "--mode", "infer,train", "--batch", "2", "--peers", "")
    )
    assert result["subject"] == "nets"
    assert result["machine"]["isa"] in ("baseline", "avx2", "avx512")
    cases = [(row["model"], row["mode"]) for row in result["rows"]]
    assert cases == [(m, mode) for m in ("lenet5", "mlp") for mode in ("infer", "train")]
    for row in result["rows"]:
        assert (row["framework"], row["batch"]) == ("striate", 2)
        assert row["milliseconds"] == pytest.approx(np.median(row["rounds"]), rel=1e-3)
        assert row["images_per_second"] == pytest.approx(2e3 / row["milliseconds"], rel=1e-2)
        assert 10 < row["peak_mb"] < 1000
        assert "ratio" not in row


def test_nets_beside_torch():
    pytest.importorskip("torch", reason="torch is the peer of this test")
    rows = report(
        *("nets", "--model", "lenet1", "--mode", "train", "--batch", "2"),
        *("--peers", "torch:eager,torch:channels_last,openvino"),
    )["rows"]
    assert [row["variant"] for row in rows] == ["", "eager", "channels_last"]
    for row in rows[1:]:
        assert row["ratio"] == pytest.approx(
            row["milliseconds"] / row["striate_milliseconds"], rel=1e-2
        )
    assert rows[0]["ratio"] == min(row["ratio"] for row in rows[1:])
    assert rows[0]["best_peer"] in ("torch eager", "torch channels_last")


@pytest.mark.parametrize("name", ["lenet1", "lenet5", "linear_classifier", "mlp"])
@pytest.mark.parametrize("mode", nets.MODES)
def test_small_twins_compute_the_same(name, mode, tmp_path):
    """The other models' twins are compared in test_zoo.py."""
    pytest.importorskip("torch", reason="torch is the peer of this test")
    job = nets._job(nets.Case(name, mode, 3, 1), tmp_path)
    with nets._worker(job, "striate") as ours, nets._worker(job, "torch", "eager") as theirs:
        assert (ours.error, theirs.error) == ("", "")
        np.testing.assert_allclose(ours.probe, theirs.probe, rtol=1e-4, atol=1e-6)
        if mode == "train":
            assert ours.probe[0] > ours.probe[1] > ours.probe[2]
        nets._check_probe(theirs, ours)
        theirs.probe[1] *= 1.01
        with pytest.raises(RuntimeError, match="torch eager computes something else"):
            nets._check_probe(theirs, ours)


def test_a_framework_that_cannot_run_is_named(tmp_path):
    job = nets._job(nets.Case("lenet5", "infer", 1, 1), tmp_path)
    worker = Worker(job | {"framework": "onnxruntime", "variant": "", "onnx": "/nowhere.onnx"})
    worker.close()
    assert worker.error


MISTAKES = {
    "subject": (["netz"], "netz"),
    "model": (["nets", "--model", "lenet5,lenet6"], "lenet6"),
    "mode": (["nets", "--mode", "learn"], "learn"),
    "peers": (["nets", "--peers", "torch,caffe"], "caffe"),
    "batch": (["nets", "--batch", "1,0"], "1,0"),
    "seconds": (["nets", "--seconds", "0"], "0"),
    "threads": (["nets", "--threads", "0"], "0"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_take_one_line(arguments, fragment):
    result = bench(*arguments, check=False)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert fragment in lines[0]
