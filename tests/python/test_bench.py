"""The benchmark commands with tiny budgets: what they report, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import striate as st
from striate.bench import convs, nets, timing
from striate.bench.processes import Worker


def bench(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, "-m", "striate", "bench", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
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
        *("--peers", "torch:eager,torch:channels_last,openvino", "--threads", "1"),
    )["rows"]
    assert [row["variant"] for row in rows] == ["", "eager", "channels_last"]
    for row in rows[1:]:
        assert row["ratio"] == pytest.approx(
            row["milliseconds"] / row["striate_milliseconds"], rel=1e-2
        )
    assert rows[0]["ratio"] == min(row["ratio"] for row in rows[1:])
    assert rows[0]["best_peer"] in ("torch eager", "torch channels_last")


def test_nets_in_bfloat16():
    pytest.importorskip("torch", reason="torch is the peer of this test")
    rows = report(
        *("nets", "--model", "lenet5", "--mode", "infer", "--batch", "2", "--dtype", "bfloat16"),
        *("--peers", "torch:eager,onnxruntime", "--threads", "1"),
    )["rows"]
    assert [row["framework"] for row in rows] == ["striate", "torch"]
    assert {row["dtype"] for row in rows} == {"bfloat16"}


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
        nets._check_probe(theirs, ours, 1e-3)
        theirs.probe[1] += 0.002 * max(theirs.probe)
        with pytest.raises(st.Error, match="torch eager computes something else"):
            nets._check_probe(theirs, ours, 1e-3)


def test_a_framework_that_cannot_run_is_named(tmp_path):
    job = nets._job(nets.Case("lenet5", "infer", 1, 1), tmp_path)
    worker = Worker(job | {"framework": "onnxruntime", "variant": "", "onnx": "/nowhere.onnx"})
    worker.close()
    assert worker.error


# --- The machine, convolutions and other operations ---------------------------------------------


def test_machine():
    result = report("machine", "--threads", "2")
    rows = result["rows"]
    assert {row["isa"] for row in rows} == set(timing.available_isas())
    assert [(row["threads"], row["measure"]) for row in rows[-6:]] == [
        (threads, measure) for threads in (1, 2) for measure in ("multiply_add", "read", "triad")
    ]
    assert all(row["rate"] > 0.1 for row in rows)
    assert {row["unit"] for row in rows} == {"GFLOP/s", "GB/s"}
    assert set(result["machine"]["caches"]) <= {"L1", "L2", "L3", "L4"}


def test_a_peak_must_have_a_name_and_time():
    with pytest.raises(st.ArgumentError, match="'triad', got 'copy'"):
        st._core.measure_peak("copy", 0.1)
    with pytest.raises(st.ArgumentError, match="seconds > 0"):
        st._core.measure_peak("read", 0.0)


def test_convs():
    isas = timing.available_isas()[-2:]
    rows = report("convs", "--model", "lenet5", "--batch", "2", "--isa", ",".join(isas))["rows"]
    assert [row["isa"] for row in rows] == [isa for isa in isas for _ in range(9)]
    assert [row["pass"] for row in rows] == [*convs.PASSES] * (3 * len(isas))
    assert rows[0]["convolution"] == "1->6 5x5 @ 32x32"
    for row in rows[:3]:
        macs = 2 * 6 * 25 * 28 * 28
        assert row["gflops"] * row["milliseconds"] * 1e6 == pytest.approx(2 * macs, rel=0.05)
        assert row["algorithm"] in ("direct", "planar", "col2im")
        assert row["fraction_of_peak"] == pytest.approx(
            row["gflops_executed"] / row["peak_gflops"], abs=0.01
        )


def test_convolutions_of_a_network_are_listed_once():
    found = [str(conv) for conv in convs.convolutions(["resnet18", "resnet18"])]
    assert found[:2] == ["3->64 7x7 s2 @ 224x224", "64->64 3x3 @ 56x56"]
    assert len(found) == len(set(found)) == 11
    assert str(convs.convolutions(["alexnet_two_tower"])[1]) == "96->256 5x5 g2 @ 27x27"


def test_algorithms_and_their_operations(without_winograd):
    conv = convs.Conv(64, 14, 14, 32, (3, 3), (1, 1), (1, 1), 1)
    direct = 2 * 4 * 64 * 32 * 9 * 14 * 14
    assert convs.operations(conv, 4, (14, 14), "direct") == (direct, direct)
    assert convs.operations(conv, 4, (14, 14), "winograd2") == (direct, 2 * 4 * 64 * 32 * 16 * 49)
    assert convs.operations(conv, 4, (14, 14), "winograd4") == (direct, 2 * 4 * 64 * 32 * 22 * 22)
    assert convs.operations(conv, 4, (28, 13), "winograd4")[1] == 2 * 4 * 64 * 32 * 42 * 21
    x, weight = st.zeros(4, 64, 14, 14), st.zeros(32, 64, 3, 3)
    names = st._core.conv2d_algorithms(x, weight, padding=1)
    assert names == dict.fromkeys(convs.PASSES, "direct")
    first = st._core.conv2d_algorithms(st.zeros(2, 3, 64, 64), st.zeros(64, 3, 7, 7), padding=3)
    assert (first["forward"], first["weight_grad"]) == ("direct", "narrow")
    few = st._core.conv2d_algorithms(st.zeros(2, 1, 64, 64), st.zeros(1, 1, 5, 5))
    assert few["forward"] == few["weight_grad"] == "planar"
    st.config.winograd = True
    names = st._core.conv2d_algorithms(x, weight, padding=1)
    assert set(names.values()) <= {"winograd2", "winograd4"}
    with pytest.raises(st.ShapeError, match="conv2d"):
        st._core.conv2d_algorithms(x, st.zeros(32, 63, 3, 3))


def test_ops():
    rows = report("ops", "--batch", "1")["rows"]
    names = [row["operation"] for row in rows]
    assert {"add", "batch_norm", "batch_norm backward", "relu", "Adam"} <= set(names)
    assert len(names) == len(set(names))
    size = 4 * 64 * 112 * 112
    relu = rows[names.index("relu")]
    assert relu["gb_per_second"] * relu["milliseconds"] * 1e6 == pytest.approx(2 * size, rel=0.05)


# --- Mistakes -----------------------------------------------------------------------------------

MISTAKES = {
    "subject": (["netz"], "netz"),
    "model": (["nets", "--model", "lenet5,lenet6"], "lenet6"),
    "mode": (["nets", "--mode", "learn"], "learn"),
    "peers": (["nets", "--peers", "torch,caffe"], "caffe"),
    "batch": (["nets", "--batch", "1,0"], "1,0"),
    "seconds": (["nets", "--seconds", "0"], "0"),
    "threads": (["nets", "--threads", "0"], "0"),
    "dtype": (["nets", "--dtype", "float16"], "float16"),
    "isa": (["convs", "--isa", "neon"], "neon"),
    "convs-model": (["convs", "--model", "vgg99"], "vgg99"),
    "convs-batch": (["convs", "--batch", "0"], "0"),
    "ops-batch": (["ops", "--batch", "-1"], "-1"),
    "machine-seconds": (["machine", "--seconds", "-1"], "-1"),
}


@pytest.mark.parametrize(("arguments", "fragment"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_take_one_line(arguments, fragment):
    result = bench(*arguments, check=False)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert fragment in lines[0]
