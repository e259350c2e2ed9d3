"""Loading ResNet-50's weights from torch's file: Striate beside torch.load, in turns.

python benchmarks/loading.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import striate as st
from striate import models

_RUNS = 15
_WARM_UP = 2


def milliseconds(load: Callable[[], object]) -> float:
    start = time.perf_counter()
    loaded = load()
    elapsed = time.perf_counter() - start
    del loaded  # outside the time, as both are freed in the same way
    return 1e3 * elapsed


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.pth"
        state = models.resnet50().state_dict()
        torch.save({name: torch.from_numpy(value.numpy()) for name, value in state.items()}, path)
        loaders: dict[str, Callable[[], object]] = {
            "striate": lambda: st.load_checkpoint(path),
            "torch": lambda: torch.load(path, weights_only=True),
        }
        times: dict[str, list[float]] = {name: [] for name in loaders}
        for _ in range(_WARM_UP + _RUNS):
            for name, load in loaders.items():
                times[name].append(milliseconds(load))
        for name, values in times.items():
            print(
                f"{name:8} first {values[0]:6.1f} ms, then a median of "
                f"{statistics.median(values[_WARM_UP:]):5.1f} ms"
            )


if __name__ == "__main__":
    main()
