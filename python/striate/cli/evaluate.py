"""Measure a checkpoint on held-out images."""

from __future__ import annotations

import argparse
import time
from typing import Any

from striate.cli import options
from striate.cli.console import Console, show_confusion
from striate.train import evaluate, load_dataset, load_model


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("eval", help="measure a checkpoint", description=__doc__)
    options.add_checkpoint(parser)
    options.add_data(parser, "what the model was trained on")
    options.add_run(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    options.set_threads(args)
    model, settings = load_model(args.checkpoint)
    name = args.data or settings.data
    dataset = load_dataset(settings.model, name, args.data_dir, train=False)
    console = Console(machine=args.json)
    console.line(f"{settings.model} from {args.checkpoint} on {len(dataset):,} images of {name}")
    start = time.perf_counter()
    test = evaluate(model.to(args.device), dataset, device=args.device)
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
