"""What capturing gains: each case as it is and as a graph, in turns, in one process.

python benchmarks/graphs.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import striate as st
import striate.nn.functional as F
from striate import models, optim
from striate.models.registry import input_size

CASES = (
    ("lenet5", "train", 64, 200),
    ("lenet5", "infer", 1, 3000),
    ("lenet5", "infer", 16, 1000),
    ("resnet20", "train", 32, 40),
    ("resnet18", "infer", 1, 40),
)
ROUNDS = 5


def function(name: str, mode: str) -> Callable[..., Any]:
    """A training step, or the fused network."""
    st.manual_seed(0)
    model = models.get_model(name)
    if mode == "infer":
        fused = model.eval().fuse()

        def infer(images: Any, labels: Any) -> Any:
            with st.no_grad():
                return fused(images)

        return infer
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    loss_of = F.nll_loss if name.startswith("lenet") else F.cross_entropy

    def train(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return train


def milliseconds(call: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(*arguments)
        samples.append(time.perf_counter() - start)
    return statistics.median(samples) * 1e3


def main() -> None:
    for name, mode, batch, repeats in CASES:
        eager = function(name, mode)
        captured = st.graph(eager)
        labels = st.tensor([i % 10 for i in range(batch)])
        arguments = (st.randn(batch, *input_size(name)), labels)
        for call in (eager, captured) * 3:
            call(*arguments)
        rounds = [
            [milliseconds(call, arguments, repeats) for call in (eager, captured)]
            for _ in range(ROUNDS)
        ]
        plain, graph = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(
            f"{name} {mode} {batch}: {plain:.4f} ms, captured {graph:.4f} ms, {plain / graph:.2f}x"
        )


if __name__ == "__main__":
    main()
