"""What people read: lines, and a live progress bar where there is a terminal and rich."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from striate.train import Progress

_MOST_COLUMNS = 20


class Console:
    """Writes for people on standard output, or on standard error if a machine reads the former."""

    def __init__(self, *, machine: bool) -> None:
        self.machine = machine
        self.stream = sys.stderr if machine else sys.stdout

    def line(self, text: str = "") -> None:
        print(text, file=self.stream, flush=True)

    def result(self, values: dict[str, Any]) -> None:
        """The object that --json promises."""
        if self.machine:
            print(json.dumps(values), flush=True)

    @contextlib.contextmanager
    def epoch(
        self, title: str, total: int, done: int = 0
    ) -> Iterator[Callable[[Progress], None] | None]:
        """A bar over the images of one epoch, gone at its end; None where it cannot be drawn."""
        if not self.stream.isatty() or importlib.util.find_spec("rich") is None:
            yield None
            return
        from rich import progress as bars
        from rich.console import Console as Terminal

        bar = bars.Progress(
            bars.TextColumn(title),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.TextColumn("loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}"),
            bars.TextColumn("{task.fields[speed]:,.0f} images/s"),
            bars.TimeRemainingColumn(),
            console=Terminal(file=self.stream),
            transient=True,
        )
        task = bar.add_task("", total=total, completed=done, loss=0.0, accuracy=0.0, speed=0.0)

        def on_step(progress: Progress) -> None:
            speed = bar.tasks[0].speed or 0.0
            bar.update(
                task,
                completed=progress.images,
                loss=progress.loss,
                accuracy=progress.accuracy,
                speed=speed,
            )

        with bar:
            yield on_step


def show_confusion(
    console: Console, confusion: npt.NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Rows are true classes, columns predictions, dots zeros, where that fits on a screen; then the
    commonest mistakes.
    """
    if len(classes) <= _MOST_COLUMNS:
        _show_table(console, confusion, classes)
    mistakes = confusion - np.diag(np.diag(confusion))
    worst = np.argsort(-mistakes, axis=None, kind="stable")[:5]
    pairs = [divmod(int(flat), len(classes)) for flat in worst if mistakes.flat[flat]]
    if pairs:
        listed = ", ".join(f"{classes[i]} for {classes[j]} ({mistakes[i, j]})" for i, j in pairs)
        console.line(f"commonest mistakes, true class first: {listed}")


def _show_table(console: Console, confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
    width = max(len(str(confusion.max())), 3)
    margin = max(len(name) for name in classes)
    header = " ".join(f"{name[:width]:>{width}}" for name in classes)
    console.line(f"{'':>{margin}} {header}   recall")
    for name, row, hits in zip(classes, confusion, np.diag(confusion), strict=True):
        cells = " ".join(f"{count or '.':>{width}}" for count in row.tolist())
        console.line(f"{name:>{margin}} {cells}  {hits / max(row.sum(), 1):7.2%}")
