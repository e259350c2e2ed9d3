"""Timing of single operations in this process, and the same in other instruction sets."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import striate as st
from striate.bench.rows import Row

ISAS = ("baseline", "avx2", "avx512")


def available_isas() -> list[str]:
    """Those up to the one in use, which is the best unless STRIATE_CPU_ISA says otherwise."""
    return list(ISAS[: ISAS.index(st.cpu_isa()) + 1])


def median_milliseconds(timed: Callable[[], float], seconds: float) -> float:
    """Of calls that return how many seconds the part of interest took; the first two, which may
    pack weights and touch fresh memory, do not count.
    """
    timed()
    timed()
    samples: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(samples) < 3 or time.perf_counter() < deadline:
        samples.append(timed())
    return statistics.median(samples) * 1e3


def whole(function: Callable[[], object]) -> Callable[[], float]:
    """`function` as something to be timed."""

    def timed() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return timed


def channels_last(n: int, c: int, h: int, w: int) -> st.Tensor:
    """Random numbers in the order of memory in which one layer hands them to the next."""
    return st.rand(n, h, w, c).permute(0, 3, 1, 2)


def backward(forward: Callable[[], st.Tensor], inputs: list[st.Tensor]) -> Callable[[], float]:
    """The backward pass alone; the gradients of earlier calls are dropped, not added to.

    The gradient lies in memory as a network's would, in the order of the result.
    """
    grad = forward().detach()

    def timed() -> float:
        for tensor in inputs:
            tensor.grad = None
        y = forward()
        start = time.perf_counter()
        y.backward(grad)
        return time.perf_counter() - start

    return timed


def rows_in_child(arguments: list[str], isa: str) -> list[Row]:
    """The rows of `striate bench` in a process where an instruction set is forced."""
    child = subprocess.run(
        [sys.executable, "-m", "striate", "bench", *arguments, "--isa", isa, "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"STRIATE_CPU_ISA": isa},
        check=False,
    )
    if child.returncode:
        reason = child.stderr.strip().rpartition("\n")[2]
        raise st.Error(f"bench: the process with {isa} failed: {reason}")
    rows: list[Row] = json.loads(child.stdout.splitlines()[-1])["rows"]
    return rows
