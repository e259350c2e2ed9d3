"""The model card: what a file of weights is, for people, in the format of docs/file_format.md."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from striate.train.datasets import input_shape
from striate.train.log import write_text
from striate.train.settings import Settings, recipe
from striate.train.trainer import Trainer

_CHUNK = 1 << 20


def write_card(trainer: Trainer, path: Path, files: Sequence[Path]) -> None:
    """Markdown on the run and on its ``files``, which exist."""
    settings, history = trainer.settings, trainer.history
    shape = input_shape(settings.model, settings.data, settings.size)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    best = max(history, key=lambda row: row["test_accuracy"])
    changed = _changed(settings)
    lines = [
        f"# {settings.model} on {settings.data}",
        "",
        f"- Model: {settings.model}, {parameters:,} parameters",
        f"- Input: {' x '.join(map(str, shape))} (channels, height, width), normalised as "
        f"`striate.train.image_transform{_transform_arguments(settings)}` does",
        f"- Classes: {len(trainer.classes)}: {', '.join(trainer.classes)}",
        f"- Data: {settings.data}, {trainer.images:,} images to learn from",
        f"- Initial weights: {trainer.origin or f'drawn from seed {settings.seed}'}",
        "- Weights evaluated: "
        + (f"moving average, decay {settings.ema:g}" if settings.ema else "the latest"),
        f"- Epochs done: {len(history)} of {settings.epochs}",
        "",
        "## Figures",
        "",
        "| epoch | test accuracy | test loss | training accuracy | training loss |",
        "| --- | --: | --: | --: | --: |",
    ]
    for name, row in (("best", best), ("last", history[-1])):
        lines.append(
            f"| {name}: {row['epoch']} | {row['test_accuracy']:.2%} | {row['test_loss']:.4f} | "
            f"{row['train_accuracy']:.2%} | {row['train_loss']:.4f} |"
        )
    lines += ["", "## Settings", "", "| setting | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in asdict(settings).items()]
    lines += ["", "## Command", "", "```sh", _command(settings, changed, trainer.origin), "```"]
    lines += ["", "## Files", "", "| file | SHA-256 |", "| --- | --- |"]
    lines += [f"| {file.name} | {sha256(file)} |" for file in files]
    write_text(path, "\n".join(lines) + "\n")


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _transform_arguments(settings: Settings) -> str:
    size = "" if settings.size is None else f", size={settings.size}"
    return f'("{settings.model}", "{settings.data}"{size})'


def _changed(settings: Settings) -> dict[str, object]:
    """What a command must say to get these settings."""
    stated: dict[str, object] = {}
    for name in ("optimizer", "freeze"):  # on which recipes depend
        if getattr(settings, name) != getattr(recipe(settings.model, settings.data), name):
            stated[name] = getattr(settings, name)
    usual = asdict(recipe(settings.model, settings.data, **stated))
    return stated | {n: value for n, value in asdict(settings).items() if value != usual[n]}


def _command(settings: Settings, changed: dict[str, object], origin: str | None) -> str:
    words = ["striate", "train", settings.model, "--data", settings.data]
    if settings.data != "digits":
        words += ["--data-dir", "DIR"]
    if origin is not None:
        words += ["--weights", "FILE"]
    for name, value in changed.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)
