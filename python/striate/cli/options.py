"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import errno
import os
from pathlib import Path

import striate as st
from striate.train import DATASETS

DEFAULT_CHECKPOINT = "runs/lenet5-digits.safetensors"


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        default=DEFAULT_CHECKPOINT,
        metavar="PATH",
        help="what striate train wrote (default: %(default)s)",
    )


def add_data(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--data", choices=tuple(DATASETS), help=f"data set (default: {default})")
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where the files of mnist, fashion or cifar10 are, packed or not (without it they are "
        "downloaded to the user's cache), or the image folder: DIR/train/CLASS/*.jpg and "
        "DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg, of which a fifth is held out",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="threads that read image files (default: as many as CPU threads for folder)",
    )


def workers(args: argparse.Namespace, dataset: str) -> int:
    """How many threads prepare images. No result depends on it."""
    if args.workers is not None:
        return int(args.workers)
    return st.get_num_threads() if dataset == "folder" else 0


def add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help="make the last line of standard output one JSON object, all else on standard error",
    )


def set_threads(args: argparse.Namespace) -> None:
    if args.threads is not None:
        st.set_num_threads(args.threads)


def check_writable(path: Path) -> None:
    """Creates the directory of `path`; raises OSError now rather than after an epoch of work."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
