"""Training to the end, with what is written down on the way."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import striate as st
from striate.train.card import write_card
from striate.train.checkpoint import Progress
from striate.train.datasets import ImageData
from striate.train.evaluation import Evaluation, evaluate
from striate.train.log import write_logs
from striate.train.trainer import Trainer

OnStep = Callable[[Progress], None]
Bar = Callable[[str, int, int], contextlib.AbstractContextManager[OnStep | None]]


@dataclass(frozen=True)
class Files:
    """What a run writes: ``x.safetensors``, to resume, and beside it ``x.best.safetensors``, the
    weights that did best on the held-out images, ``x.csv``, ``x.jsonl`` and the model card,
    ``x.md``.
    """

    last: Path

    def __init__(self, last: str | os.PathLike[str]) -> None:
        path = Path(last)
        if path.suffix in (".csv", ".jsonl", ".md", ".best"):
            raise st.ArgumentError(
                f"train: expected a path such as runs/x.safetensors, got {path}: its ending is "
                "that of a file written beside it"
            )
        object.__setattr__(self, "last", path)

    @property
    def best(self) -> Path:
        return self.last.with_name(f"{self.last.stem}.best{self.last.suffix}")

    @property
    def csv(self) -> Path:
        return self.last.with_suffix(".csv")

    @property
    def jsonl(self) -> Path:
        return self.last.with_suffix(".jsonl")

    @property
    def card(self) -> Path:
        return self.last.with_suffix(".md")


@dataclass(frozen=True)
class EpochReport:
    """One epoch, or what this run did of it."""

    measured: dict[str, float]
    """The row of the log."""
    test: Evaluation
    images: int
    seconds: float
    """Of training, evaluation excluded."""


def fit(
    trainer: Trainer,
    held_out: ImageData,
    out: str | os.PathLike[str],
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    bar: Bar | None = None,
) -> Evaluation | None:
    """Trains until the last epoch is done or ``trainer.stop_requested``, evaluating after every
    epoch, and writes the `Files`. Returns the last evaluation, None if it was stopped.

    ``bar`` is given a title, the number of images in an epoch and how many are done, and gives what
    is called after each step.
    """
    files = Files(out)
    test = None
    while not trainer.finished and not trainer.stop_requested:
        progress = trainer.progress
        title = f"epoch {progress.epoch + 1}/{trainer.settings.epochs}"
        before, start = progress.images, time.perf_counter()
        total = trainer.images
        with bar(title, total, before) if bar else contextlib.nullcontext() as on_step:
            complete = trainer.run_epoch(on_step)
        seconds = time.perf_counter() - start
        if complete is not None:
            test = _measure(trainer, complete, held_out)
        trainer.save(files.last)
        if complete is not None and test is not None:
            if best_epoch(trainer) == trainer.progress.epoch:
                trainer.save_weights(files.best)
            write_logs(trainer.history, files.csv, files.jsonl)
            write_card(trainer, files.card, [files.last, files.best])
            if on_epoch is not None:
                report = EpochReport(trainer.history[-1], test, progress.images - before, seconds)
                on_epoch(report)
    if not trainer.finished:
        return None
    return test or evaluate_trainer(trainer, held_out)


def best_epoch(trainer: Trainer) -> int:
    """The first of those with the highest accuracy on held-out images, from 1."""
    best = max(trainer.history, key=lambda row: row["test_accuracy"])
    return int(best["epoch"])


def evaluate_trainer(trainer: Trainer, held_out: ImageData) -> Evaluation:
    return evaluate(
        trainer.evaluated_model, held_out, device=trainer.device, workers=trainer.workers
    )


def _measure(trainer: Trainer, progress: Progress, held_out: ImageData) -> Evaluation:
    test = evaluate_trainer(trainer, held_out)
    trainer.history.append(
        {
            "epoch": progress.epoch + 1,
            "lr": progress.lr,
            "train_loss": progress.loss,
            "train_accuracy": progress.accuracy,
            "test_loss": test.loss,
            "test_accuracy": test.accuracy,
        }
    )
    return test
