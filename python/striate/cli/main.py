"""Parses the command line, runs a subcommand and turns exceptions into exit codes.

0 success, 1 failure, 2 a mistake in the command or its input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import striate as st
from striate import _core
from striate.cli import bench, convert, doctor, evaluate, predict, summary, train


class _Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"striate: error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="striate", description="Train and run convolutional networks.")
    parser.add_argument("--version", action="version", version=f"striate {st.__version__}")
    parser.add_argument(
        "--cmake-dir",
        action="store_true",
        help="print the directory for CMake's CMAKE_PREFIX_PATH or striate_DIR",
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for module in (train, evaluate, predict, summary, doctor, bench, convert):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.cmake_dir:
        # Beside the compiled module: in an editable install the sources lie elsewhere.
        print(Path(_core.__file__).parent / "lib" / "cmake" / "striate")
        return 0
    if args.command is None:
        parser.error("expected a command; striate --help lists them")
    try:
        status: int = args.run(args)
        return status
    except st.OutOfMemoryError as error:
        return _report(error, 1)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (st.Error, OSError) as error:
        return _report(error, 2)
    except KeyboardInterrupt:
        return _report("interrupted", 130)


def _report(error: BaseException | str, status: int) -> int:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        error = f"{where}{error.strerror}"
    print("striate: error:", " ".join(str(error).split()), file=sys.stderr)
    return status
