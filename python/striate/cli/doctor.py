"""Tell what Striate runs on: instruction set, threads, CUDA and versions."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import numpy as np

import striate as st
from striate.cli import options
from striate.cli.console import Console

_EXTRAS = ("rich", "Pillow", "scikit-learn")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="tell what Striate runs on", description=__doc__)
    options.add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    report = machine_report()
    console = Console(machine=args.json)
    for key, value in report.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        )
        console.line(f"{key.replace('_', ' '):<16} {shown}")
    console.result(report)
    return 0


def machine_report() -> dict[str, Any]:
    """The facts that a bug report or a benchmark result needs."""
    build = dict(line.split(": ", 1) for line in st.build_info().splitlines())
    return {
        "striate": st.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "isa": st.cpu_isa(),
        "threads": st.get_num_threads(),
        "cuda_built": st.cuda.is_built(),
        "cuda_available": st.cuda.is_available(),
        "cuda_reason": st.cuda.unavailable_reason(),
        "cuda_devices": {str(i): st.cuda.device_name(i) for i in range(st.cuda.device_count())},
        "build": build,
        "extras": {name: _version(name) for name in _EXTRAS},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
