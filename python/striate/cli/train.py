"""Train a model, show how it goes and write a checkpoint after every epoch."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from types import FrameType
from typing import Any

import striate as st
from striate.cli import options
from striate.cli.console import Console, show_confusion
from striate.train import (
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    EpochReport,
    Files,
    Settings,
    Trainer,
    fit,
    load_dataset,
    read_checkpoint,
    recipe,
)
from striate.train.card import sha256
from striate.train.transfer import read_weights
from striate.weights import resolve


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("train", help="train a model", description=__doc__)
    parser.add_argument("model", choices=tuple(MODELS), metavar="MODEL", help=", ".join(MODELS))
    options.add_data(parser, "digits")
    parser.add_argument(
        "--size", type=int, metavar="N", help="side of the images (default: the model's usual one)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the data set's recipe")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: as above")
    parser.add_argument("--seed", type=int, help="of the weights and the order (default: 0)")
    _add_optimisation(parser.add_argument_group("optimisation (default: the data set's recipe)"))
    _add_regularisation(parser.add_argument_group("regularisation (default: the recipe)"))
    _add_transfer(parser.add_argument_group("transfer learning"))
    parser.add_argument(
        "--out", metavar="PATH", help="checkpoint to write (default: runs/MODEL-DATA.safetensors)"
    )
    parser.add_argument("--resume", metavar="PATH", help="checkpoint to continue, with its options")
    options.add_run(parser)
    options.add_workers(parser)
    parser.set_defaults(run=run)


def _add_optimisation(group: Any) -> None:
    group.add_argument("--optimizer", choices=OPTIMIZERS, help="sgd has Nesterov momentum")
    group.add_argument("--lr", type=float, help="the highest learning rate")
    group.add_argument("--momentum", type=float, metavar="M", help="of sgd")
    group.add_argument("--schedule", choices=SCHEDULES, help="of the learning rate")
    group.add_argument("--lr-decay", type=float, metavar="F", help="per epoch, of schedule step")
    group.add_argument(
        "--warmup-epochs", type=float, metavar="N", help="of rising lr, before schedule cosine"
    )
    group.add_argument("--clip-norm", type=float, metavar="NORM", help="largest norm of gradients")
    group.add_argument(
        "--autocast", choices=("bfloat16",), help="type of products; parameters stay float32"
    )
    group.add_argument(
        "--ema", type=float, metavar="DECAY", help="evaluate a moving average of the weights"
    )


def _add_regularisation(group: Any) -> None:
    switch = argparse.BooleanOptionalAction
    group.add_argument("--augment", action=switch, help="random crops and flips")
    group.add_argument("--weight-decay", type=float, metavar="W")
    group.add_argument("--bias-decay", action=switch, help="weight decay on biases and norms too")
    group.add_argument("--label-smoothing", type=float, metavar="S")
    group.add_argument("--mixup", type=float, metavar="ALPHA", help="mix images in pairs")


def _add_transfer(group: Any) -> None:
    group.add_argument(
        "--weights",
        metavar="FILE",
        help="start from these, but for the last layer: any file that load_checkpoint reads, or "
        "the name of published weights",
    )
    group.add_argument(
        "--freeze",
        metavar="WHAT",
        help="backbone (train the last layer on features computed once), until=LAYER or none",
    )
    group.add_argument(
        "--lr-backbone", type=float, metavar="LR", help="learning rate of all but the last layer"
    )


def run(args: argparse.Namespace) -> int:
    options.set_threads(args)
    settings = _settings(args)
    files = Files(args.out or args.resume or f"runs/{settings.model}-{settings.data}.safetensors")
    origin, weights = _weights(args.weights)
    sets = {
        train: load_dataset(
            settings.model,
            settings.data,
            args.data_dir,
            train=train,
            augment=train and settings.augment,
            size=settings.size,
        )
        for train in (True, False)
    }
    train_set, test_set = sets[True], sets[False]
    trainer = Trainer(
        settings,
        train_set,
        device=args.device,
        weights=weights,
        origin=origin,
        workers=options.workers(args, settings.data),
    )
    if args.resume:
        trainer.load(args.resume)
    options.check_writable(files.last)

    console = Console(machine=args.json)
    console.line(
        f"{settings.model} on {settings.data}: {len(train_set):,} images to learn from, "
        f"{len(test_set):,} held out; batches of {settings.batch_size}, lr {settings.lr:g}, "
        f"seed {settings.seed}; device {args.device}, threads {st.get_num_threads()}"
    )
    if settings.freeze != "none" and trainer.origin is None:
        console.line("without --weights the frozen layers keep their random ones")
    if settings.freeze == "backbone":
        console.line("the backbone's features are computed first, once")
    start, images, train_seconds = time.perf_counter(), 0, 0.0

    def show(report: EpochReport) -> None:
        nonlocal images, train_seconds
        images += report.images
        train_seconds += report.seconds
        row = report.measured
        console.line(
            f"epoch {row['epoch']}/{settings.epochs}  loss {row['train_loss']:.4f}  "
            f"accuracy {row['train_accuracy']:.2%}  test {row['test_accuracy']:.2%}  "
            f"{images / train_seconds:,.0f} images/s"
        )

    with _stop_on_interrupt(trainer):
        test = fit(trainer, test_set, files.last, on_epoch=show, bar=console.epoch)
    if test is None:
        return _interrupted(args, console, trainer, files)

    show_confusion(console, test.confusion, test_set.classes)
    console.line(f"test accuracy: {test.accuracy * 100:.2f} %")
    console.line(f"checkpoint: {files.last}")
    console.line(f"best weights: {files.best}; log: {files.csv}; model card: {files.card}")
    console.result(
        {
            "model": settings.model,
            "data": settings.data,
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "best_test_accuracy": max(
                (row["test_accuracy"] for row in trainer.history), default=test.accuracy
            ),
            "epochs": settings.epochs,
            "seconds": round(time.perf_counter() - start, 3),
            "images_per_second": round(images / train_seconds, 1) if images else 0.0,
            "checkpoint": str(files.last),
            "best": str(files.best),
            "log": str(files.csv),
            "card": str(files.card),
        }
    )
    return 0


def _weights(given: str | None) -> tuple[str | None, dict[str, st.Tensor] | None]:
    """What to start from, and what to call it: its name and the beginning of its SHA-256."""
    if given is None:
        return None, None
    path = resolve(given)
    return f"{path.name} (SHA-256 {sha256(path)[:16]}), but for the last layer", read_weights(path)


def _settings(args: argparse.Namespace) -> Settings:
    """From the recipe, or from the checkpoint to resume, in which only `epochs` may change."""
    names = [field.name for field in fields(Settings) if field.name not in ("model", "data")]
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.resume is None:
        return recipe(args.model, args.data or "digits", **given)
    checkpoint = read_checkpoint(args.resume)
    settings, progress = checkpoint.settings, checkpoint.progress
    expected = {"model": args.model, "data": args.data or settings.data} | given
    epochs = expected.pop("epochs", settings.epochs)
    for name, value in expected.items():
        if value != getattr(settings, name):
            raise st.ArgumentError(
                f"--resume {args.resume}: expected {name} {getattr(settings, name)} as in the "
                f"checkpoint, got {value}"
            )
    if settings.schedule != "step" and epochs != settings.epochs:
        raise st.ArgumentError(
            f"--resume {args.resume}: expected --epochs {settings.epochs}, on which the "
            f"{settings.schedule} schedule depends, got {epochs}"
        )
    if epochs < progress.epoch:
        raise st.ArgumentError(
            f"--resume {args.resume}: expected --epochs of at least the {progress.epoch} done, "
            f"got {epochs}"
        )
    return replace(settings, epochs=epochs)


@contextlib.contextmanager
def _stop_on_interrupt(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C lets the step in hand finish; a second one ends the program at once."""

    def request_stop(signum: int, frame: FrameType | None) -> None:
        trainer.stop_requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _interrupted(args: argparse.Namespace, console: Console, trainer: Trainer, files: Files) -> int:
    again = ["striate", "train", args.model, "--resume", str(files.last)]
    if args.data_dir:
        again += ["--data-dir", args.data_dir]
    console.line(
        f"interrupted in epoch {trainer.progress.epoch + 1} after {trainer.progress.step} steps; "
        f"to resume: {shlex.join(again)}"
    )
    return 130
