"""Train a model, show how it goes and write a checkpoint after every epoch."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import striate as st
from striate.cli import options
from striate.cli.console import Console, show_confusion
from striate.train import MODELS, Settings, Trainer, evaluate, load_dataset, read_checkpoint, recipe


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("train", help="train a model", description=__doc__)
    parser.add_argument("model", choices=tuple(MODELS), help="one of: %(choices)s")
    options.add_data(parser, "digits")
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the data set's recipe")
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: as above")
    parser.add_argument("--lr", type=float, help="of the first epoch; default: as above")
    parser.add_argument("--seed", type=int, help="of the weights and the order (default: 0)")
    parser.add_argument(
        "--weights",
        metavar="FILE",
        help="start from these, but for the last layer: any file that load_checkpoint reads",
    )
    parser.add_argument(
        "--freeze",
        metavar="WHAT",
        help="backbone (train the last layer on features computed once), until=LAYER or none",
    )
    parser.add_argument(
        "--out", metavar="PATH", help="checkpoint to write (default: runs/MODEL-DATA.safetensors)"
    )
    parser.add_argument("--resume", metavar="PATH", help="checkpoint to continue, with its options")
    options.add_run(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    options.set_threads(args)
    settings = _settings(args)
    out = Path(args.out or args.resume or f"runs/{settings.model}-{settings.data}.safetensors")
    weights = None if args.weights is None else st.load_checkpoint(args.weights)
    train_set = load_dataset(
        settings.model, settings.data, args.data_dir, train=True, augment=settings.augment
    )
    test_set = load_dataset(settings.model, settings.data, args.data_dir, train=False)
    trainer = Trainer(settings, train_set, device=args.device, weights=weights)
    if args.resume:
        trainer.load(args.resume)
    options.check_writable(out)

    console = Console(machine=args.json)
    console.line(
        f"{settings.model} on {settings.data}: {len(train_set):,} images to learn from, "
        f"{len(test_set):,} held out; batches of {settings.batch_size}, lr {settings.lr:g}, "
        f"seed {settings.seed}; device {args.device}, threads {st.get_num_threads()}"
    )
    start, images, train_seconds = time.perf_counter(), 0, 0.0
    with _stop_on_interrupt(trainer):
        while not trainer.finished and not trainer.stop_requested:
            progress = trainer.progress
            title = f"epoch {progress.epoch + 1}/{settings.epochs}"
            images -= progress.images
            epoch_start = time.perf_counter()
            with console.epoch(title, len(train_set), progress.images) as on_step:
                complete = trainer.run_epoch(on_step)
            train_seconds += time.perf_counter() - epoch_start
            images += progress.images
            trainer.save(out)
            if complete:
                test = evaluate(trainer.model, test_set, device=args.device)
                console.line(
                    f"{title}  loss {progress.loss:.4f}  accuracy {progress.accuracy:.2%}  "
                    f"test {test.accuracy:.2%}  {images / train_seconds:,.0f} images/s"
                )
    if not trainer.finished:
        return _interrupted(args, console, trainer, out)

    test = evaluate(trainer.model, test_set, device=args.device)
    show_confusion(console, test.confusion, test_set.classes)
    console.line(f"test accuracy: {test.accuracy * 100:.2f} %")
    console.line(f"checkpoint: {out}")
    console.result(
        {
            "model": settings.model,
            "data": settings.data,
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "epochs": settings.epochs,
            "seconds": round(time.perf_counter() - start, 3),
            "images_per_second": round(images / train_seconds, 1) if images else 0.0,
            "checkpoint": str(out),
        }
    )
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """From the recipe, or from the checkpoint to resume, in which only `epochs` may change."""
    names = ("epochs", "batch_size", "lr", "seed", "freeze")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.resume is None:
        if args.freeze == "backbone":
            given["augment"] = False
        return recipe(args.model, args.data or "digits", **given)
    _, settings, progress, _ = read_checkpoint(args.resume)
    expected = {"model": args.model, "data": args.data or settings.data} | given
    epochs = expected.pop("epochs", settings.epochs)
    for name, value in expected.items():
        if value != getattr(settings, name):
            raise st.ArgumentError(
                f"--resume {args.resume}: expected {name} {getattr(settings, name)} as in the "
                f"checkpoint, got {value}"
            )
    if settings.schedule == "one-cycle" and epochs != settings.epochs:
        raise st.ArgumentError(
            f"--resume {args.resume}: expected --epochs {settings.epochs}, on which the one-cycle "
            f"schedule depends, got {epochs}"
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


def _interrupted(args: argparse.Namespace, console: Console, trainer: Trainer, out: Path) -> int:
    trainer.save(out)
    again = ["striate", "train", args.model, "--resume", str(out)]
    if args.data_dir:
        again += ["--data-dir", args.data_dir]
    console.line(
        f"interrupted in epoch {trainer.progress.epoch + 1} after {trainer.progress.step} steps; "
        f"to resume: {shlex.join(again)}"
    )
    return 130
