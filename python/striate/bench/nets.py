"""Whole networks beside other frameworks.

Each variant of a framework meets Striate in a duel: a process each, the same weights and number of
threads, first results that must agree, then timed rounds in turns. A duel's ratio is that of its
medians, so that what else the machine does in other minutes does not matter; no more than two
networks are in memory at any time.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import striate as st
from striate import models
from striate.bench.processes import Worker
from striate.bench.rows import Row, compare
from striate.models.registry import input_size

MODES = ("train", "infer")
DTYPES = ("float32", "bfloat16")
_VARIANTS = {
    "torch": ("eager", "channels_last", "compile"),
    "onnxruntime": ("",),
    "openvino": ("",),
}
_FROM_ONNX = ("onnxruntime", "openvino")  # and without training
PEERS = (*_VARIANTS, *(f"torch:{variant}" for variant in _VARIANTS["torch"]))
"""What `measure` takes for a peer: a framework or one variant of it."""

_MIN_ROUNDS, _USUAL_ROUNDS = 3, 7
_PROBE_STEPS = {"train": 3, "infer": 1}
# Of the probe, relative to its largest number. In training, batch norm over few images amplifies
# rounding from step to step; bfloat16 has 8 bits.
_TOLERANCE = {"train": 1e-2, "infer": 1e-3}
_TOLERANCE_BFLOAT16 = 0.1


@dataclass(frozen=True)
class Case:
    model: str
    mode: str  # of MODES
    batch: int
    threads: int
    dtype: str = "float32"  # of DTYPES: what products are computed in


Log = Callable[[str], None]


def measure(case: Case, peers: list[str], seconds: float, log: Log) -> list[Row]:
    """Striate's row, which names the best peer, and a row for each variant of the peers.

    `seconds` is about the time for the rounds of one duel.
    """
    with tempfile.TemporaryDirectory() as directory:
        job = _job(case, Path(directory))
        with _worker(job, "striate") as ours:
            if ours.error:
                raise st.Error(f"bench: striate: {ours.error}")
            rows = [
                row
                for framework, variant in _rivals(case, peers, job, log)
                if (row := _duel(case, ours, job, (framework, variant), seconds, log))
            ]
            if not rows:
                rounds([ours], seconds)
            own = _row(case, ours)
    rows = [own, *rows]
    compare(rows)
    return rows


def rounds(workers: list[Worker], seconds: float) -> None:
    """Lets the workers take turns; slow networks get few rounds, of one iteration each."""
    deadline = time.monotonic() + seconds
    done = 0
    while done < _MIN_ROUNDS or time.monotonic() < deadline:
        for worker in workers:
            worker.measure(seconds / _USUAL_ROUNDS / len(workers))
        done += 1


def _rivals(
    case: Case, peers: list[str], job: dict[str, Any], log: Log
) -> Iterator[tuple[str, str]]:
    """Frameworks and variants that can run this case; writes the ONNX file before the first that
    reads it.
    """
    exported = False
    for peer in peers:
        framework, _, variant = peer.partition(":")
        if framework in _FROM_ONNX and case.mode == "train":
            log(f"{framework}: left out: does not train")
            continue
        if framework == "onnxruntime" and case.dtype != "float32":
            log(f"{framework}: left out: does not compute in {case.dtype}")
            continue
        if framework in _FROM_ONNX and not exported:
            with _worker(job, "torch", "export") as exporter:
                if exporter.error:
                    log(f"{framework}: left out: no ONNX file: {exporter.error}")
                    continue
            exported = True
        for choice in (variant,) if variant else _VARIANTS[framework]:
            yield framework, choice


def _duel(
    case: Case,
    ours: Worker,
    job: dict[str, Any],
    rival: tuple[str, str],
    seconds: float,
    log: Log,
) -> Row | None:
    with _worker(job, *rival) as theirs:
        if theirs.error:
            log(f"{theirs.name}: left out: {theirs.error}")
            return None
        exact = case.dtype == "float32"
        _check_probe(theirs, ours, _TOLERANCE[case.mode] if exact else _TOLERANCE_BFLOAT16)
        first = len(ours.milliseconds)
        rounds([ours, theirs], seconds)
        row = _row(case, theirs)
        own = statistics.median(ours.milliseconds[first:])
        row["striate_milliseconds"] = round(own, 5)
        row["ratio"] = round(row["milliseconds"] / own, 3)
        return row


def _row(case: Case, worker: Worker) -> Row:
    milliseconds = statistics.median(worker.milliseconds)
    return {
        "subject": "nets",
        **asdict(case),
        "framework": worker.framework,
        "variant": worker.variant,
        "version": worker.version,
        "milliseconds": round(milliseconds, 5),
        "images_per_second": round(case.batch * 1e3 / milliseconds, 2),
        "peak_mb": round(worker.peak_mb, 1),
        "rounds": [round(ms, 5) for ms in worker.milliseconds],
    }


@contextlib.contextmanager
def _worker(job: dict[str, Any], framework: str, variant: str = "") -> Iterator[Worker]:
    worker = Worker(job | {"framework": framework, "variant": variant})
    try:
        yield worker
    finally:
        worker.close()


def _job(case: Case, directory: Path) -> dict[str, Any]:
    """What all workers have in common; writes the weights."""
    st.manual_seed(0)
    state = models.get_model(case.model).state_dict()
    arrays: dict[str, Any] = {key: value.numpy() for key, value in state.items()}
    np.savez(directory / "weights.npz", **arrays)
    return asdict(case) | {
        "input_size": input_size(case.model),
        "weights": str(directory / "weights.npz"),
        "onnx": str(directory / "model.onnx"),
        "log_probabilities": case.model.startswith("lenet"),
        "lr": 1e-3,
        "momentum": 0.9,
        "probe_steps": _PROBE_STEPS[case.mode],
    }


def _check_probe(worker: Worker, reference: Worker, tolerance: float) -> None:
    got, expected = np.array(worker.probe), np.array(reference.probe)
    if not np.abs(got - expected).max() <= tolerance * np.abs(expected).max():
        raise st.Error(
            f"bench: {worker.name} computes something else than {reference.name}: "
            f"{got[:4]}, not {expected[:4]}"
        )
