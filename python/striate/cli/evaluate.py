"""Measure a checkpoint on held-out images."""

from __future__ import annotations

import argparse
import time
from typing import Any

import striate as st
from striate.cli import options
from striate.cli.console import Console, show_confusion
from striate.train import evaluate, load_dataset, read_checkpoint


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("eval", help="measure a checkpoint", description=__doc__)
    options.add_checkpoint(parser)
    options.add_data(parser, "what the model was trained on")
    options.add_run(parser)
    options.add_workers(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    options.set_threads(args)
    checkpoint = read_checkpoint(args.checkpoint)
    settings, model = checkpoint.settings, checkpoint.model()
    name = args.data or settings.data
    dataset = load_dataset(settings.model, name, args.data_dir, train=False, size=settings.size)
    if list(dataset.classes) != list(checkpoint.classes) and (
        name == settings.data or len(dataset.classes) != len(checkpoint.classes)
    ):
        raise st.ArgumentError(
            f"eval: expected the classes that {args.checkpoint} knows, "
            f"{' '.join(checkpoint.classes)}, got {' '.join(dataset.classes)}"
        )
    console = Console(machine=args.json)
    console.line(f"{settings.model} from {args.checkpoint} on {len(dataset):,} images of {name}")
    start = time.perf_counter()
    test = evaluate(
        model.to(args.device),
        dataset,
        device=args.device,
        workers=options.workers(args, name),
    )
    seconds = time.perf_counter() - start
    show_confusion(console, test.confusion, dataset.classes)
    console.line(f"test accuracy: {test.accuracy * 100:.2f} %")
    console.result(
        {
            "model": settings.model,
            "data": name,
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "seconds": round(seconds, 3),
            "images_per_second": round(len(dataset) / seconds, 1),
            "checkpoint": args.checkpoint,
            "confusion": test.confusion.tolist(),
        }
    )
    return 0
