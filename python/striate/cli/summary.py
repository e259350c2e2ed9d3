"""Print a model's layers, their output shapes and parameters."""

from __future__ import annotations

import argparse
from typing import Any

import striate as st
from striate import models
from striate.train import MODELS


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("summary", help="print a model's layers", description=__doc__)
    parser.add_argument("model", choices=tuple(MODELS), help="one of: %(choices)s")
    parser.add_argument(
        "--input-size",
        type=_size,
        metavar="C,H,W",
        help="of one image (default: what the model was made for)",
    )
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected C,H,W, got {text!r}") from None


def run(args: argparse.Namespace) -> int:
    side = MODELS[args.model]
    print(st.summary(models.get_model(args.model), args.input_size or (1, side, side)))
    return 0
