"""Convert a checkpoint (torch .pth, .pt, .th, NumPy .npz) to safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from striate import checkpoint
from striate.cli import options
from striate.cli.console import Console


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("convert", help="checkpoint to safetensors", description=__doc__)
    parser.add_argument("source", metavar="IN", help="told by its content, not its name")
    parser.add_argument("target", metavar="OUT.safetensors")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    target = Path(args.target)
    options.check_writable(target)
    tensors = checkpoint.convert(args.source, target)
    elements = sum(tensor.numel() for tensor in tensors.values())
    console = Console(machine=args.json)
    console.line(f"{target}: {len(tensors)} tensors, {elements:,} elements")
    console.result({"checkpoint": str(target), "tensors": len(tensors), "elements": elements})
    return 0
