"""Measure the speed of this machine, of single kernels and of whole networks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import striate as st
from striate import models
from striate.bench import nets
from striate.bench.rows import Row, name
from striate.cli import options
from striate.cli.console import Console
from striate.cli.doctor import machine_report


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("bench", help="measure speed", description=__doc__)
    subjects = parser.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    _add_nets(subjects)


def _add_nets(subjects: Any) -> None:
    parser = subjects.add_parser(
        "nets",
        help="whole networks beside other frameworks",
        description="Whole networks, each framework in a process of its own, in turns, from the "
        "same weights and with the same number of threads; medians over rounds.",
    )
    parser.add_argument("--model", default="lenet5", metavar="M[,M...]", help="or all")
    parser.add_argument("--batch", default="64", metavar="N[,N...]", help="default: %(default)s")
    parser.add_argument("--mode", default="train", help="train, infer or both, with a comma")
    parser.add_argument(
        "--peers",
        default="torch,onnxruntime,openvino",
        help="other frameworks, one variant of torch as in torch:compile, or nothing "
        "(default: %(default)s)",
    )
    _add_common(parser, seconds=5.0)
    parser.set_defaults(run=run_nets)


def _add_common(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        metavar="S",
        help="time for the rounds of one measurement, after warming up (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    options.add_json(parser)


def run_nets(args: argparse.Namespace) -> int:
    known = models.list_models()
    names = known if args.model == "all" else _chosen("model", args.model, known)
    modes = _chosen("mode", args.mode, nets.MODES)
    peers = _chosen("peers", args.peers, nets.PEERS) if args.peers else []
    batches = _numbers("batch", args.batch)
    report = _Report(args, "nets")
    for model in names:
        for mode in modes:
            for batch in batches:
                report.console.line(f"{model}, {mode}, batch {batch}")
                case = nets.Case(model, mode, batch, st.get_num_threads())
                rows = nets.measure(case, peers, args.seconds, report.console.line)
                for row in rows:
                    figures = f"{row['images_per_second']:>11,.1f} images/s"
                    figures += f" {row['peak_mb']:>7,.0f} MB"
                    report.add(row, f"{figures}{row.get('ratio', 1):>7.2f}")
    report.finish()
    return 0


class _Report:
    """Checks what the subjects have in common, shows rows as they come and keeps them."""

    def __init__(self, args: argparse.Namespace, subject: str) -> None:
        if not args.seconds > 0:
            raise st.ArgumentError(f"bench: expected --seconds > 0, got {args.seconds}")
        options.set_threads(args)
        machine = machine_report()
        self.console = Console(machine=args.json)
        self.rows: list[Row] = []
        self.subject = subject
        self.machine = {key: machine[key] for key in ("cpu", "isa", "threads", "system", "python")}
        self.console.line("{cpu}, {isa}, {threads} threads".format(**self.machine))

    def add(self, row: Row, figures: str) -> None:
        self.rows.append(row)
        self.console.line(f"{name(row):<24} {row['milliseconds']:>11.3f} ms {figures}")

    def finish(self) -> None:
        self.console.result({"subject": self.subject, "machine": self.machine, "rows": self.rows})


def _chosen(option: str, text: str, known: Sequence[str]) -> list[str]:
    values = text.split(",")
    for value in values:
        if value not in known:
            raise st.ArgumentError(
                f"bench: expected --{option} of {', '.join(known)}, got {value!r}"
            )
    return values


def _numbers(option: str, text: str) -> list[int]:
    values = text.split(",")
    if not all(value.isdecimal() and int(value) for value in values):
        raise st.ArgumentError(f"bench: expected --{option} of whole numbers >= 1, got {text!r}")
    return [int(value) for value in values]
