"""The process that measures one network in one mode of one framework.

The job comes as JSON in the argument. When ready it prints {"version", "probe"} or {"error"}; then,
for each number of seconds on standard input, {"milliseconds", "peak_mb"} of one iteration, as JSON
lines. It runs as a plain file: a peer's process never imports striate, nor any framework but its
own, so its siblings in this folder are imported by their bare names.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_SAMPLE_SECONDS = 0.01
_WARM_UP_SECONDS = 0.3


def milliseconds_per_iteration(step: Any, seconds: float) -> float:
    """The median over samples of about 10 ms each, or of one iteration where it takes longer."""
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    if first >= seconds:
        return first * 1e3
    repeats = max(int(_SAMPLE_SECONDS / first), 1)
    samples: list[float] = []
    deadline = start + seconds
    while not samples or time.perf_counter() < deadline:
        begin = time.perf_counter()
        for _ in range(repeats):
            step()
        samples.append((time.perf_counter() - begin) / repeats)
    return statistics.median(samples) * 1e3


def probe_numbers(step: Any, numbers: Any, dropout: Any, steps: int) -> list[float]:
    """What every framework must agree on: results of the first steps, without random numbers."""
    probabilities = [layer.p for layer in dropout]
    for layer in dropout:
        layer.p = 0.0
    results = [number for _ in range(steps) for number in numbers(step())]
    for layer, p in zip(dropout, probabilities, strict=True):
        layer.p = p
    return results


def reset_peak() -> None:
    """The system's high-water mark starts anew at what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """Not getrusage's: that one survives exec and may be the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def main(job: dict[str, Any]) -> None:
    # Whatever a framework prints must not end up between our lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    rng = np.random.default_rng(0)
    x = rng.standard_normal((job["batch"], *job["input_size"]), np.float32)
    y = rng.integers(0, 10, job["batch"])
    try:
        module = importlib.import_module(f"run_{job['framework']}")
        step, numbers, dropout = module.build(job, x, y)
        reset_peak()
        probe = probe_numbers(step, numbers, dropout, job["probe_steps"])
        milliseconds_per_iteration(step, _WARM_UP_SECONDS)
    except Exception as error:  # whatever a framework raises is the reason why it is left out
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        answer({"error": f"{type(error).__name__}: {lines[0].strip()}"})
        return
    answer({"version": sys.modules[job["framework"]].__version__, "probe": probe})
    for line in sys.stdin:
        milliseconds = milliseconds_per_iteration(step, float(line))
        answer({"milliseconds": milliseconds, "peak_mb": peak_mb()})


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
