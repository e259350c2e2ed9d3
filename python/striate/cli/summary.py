"""Print a model's layers, their output shapes and parameters."""

from __future__ import annotations

import argparse
import re
from typing import Any

import striate as st
from striate import models
from striate.cli import options
from striate.cli.console import Console
from striate.models.registry import input_size

_FIXED_SIZE = ("linear_classifier", "mlp")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("summary", help="print a model's layers", description=__doc__)
    parser.add_argument("model", choices=models.list_models(), help="one of: %(choices)s")
    parser.add_argument(
        "--input",
        "--input-size",
        dest="input_size",
        type=_size,
        metavar="CxHxW",
        help="of one image, as in 3x224x224 (default: what the model was made for)",
    )
    parser.add_argument(
        "--columns",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="NAME,...",
        help="more columns: macs, flops, activation_bytes, receptive_field",
    )
    options.add_json(parser)
    parser.set_defaults(run=run)


def _size(text: str) -> tuple[int, ...]:
    parts = re.split("[x,]", text)
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected CxHxW, got {text!r}")
    return tuple(map(int, parts))


def run(args: argparse.Namespace) -> int:
    size = args.input_size or input_size(args.model)
    settings: dict[str, Any] = {"in_channels": size[0]}
    if args.model in _FIXED_SIZE:
        settings["image_size"] = size[1:]
    table = st.summary(models.get_model(args.model, **settings), size, args.columns)
    console = Console(machine=args.json)
    console.line(str(table))
    console.result({"model": args.model, **table.to_dict()})
    return 0
