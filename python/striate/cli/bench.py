"""Measure the speed of this machine, of single operations and of whole networks."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from typing import Any

import striate as st
from striate import models
from striate.bench import convs, machine, nets, ops, timing
from striate.bench.rows import Row, name
from striate.cli import options
from striate.cli.console import Console
from striate.cli.doctor import machine_report


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("bench", help="measure speed", description=__doc__)
    subjects = parser.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    one = subjects.add_parser(
        "machine",
        help="what the machine can do at most",
        description="Arithmetic in registers (a multiply-add is two operations) and memory "
        "traffic, with one thread and with all, for each instruction set; the best of many "
        "samples.",
    )
    _add_common(one, run_machine, seconds=0.5)
    one.add_argument("--isa", metavar="SET[,SET...]", help="default: all that the processor has")

    one = subjects.add_parser(
        "convs",
        help="each distinct convolution of some networks",
        description="Forward, input gradient and weight gradient of each distinct convolution: the "
        "algorithm, its speed in terms of direct convolution's operations and of its own, and its "
        "share of the arithmetic that the machine can do at most; medians, weights warm.",
    )
    _add_common(one, run_convs, seconds=0.2)
    one.add_argument("--model", default="resnet50,vgg16", metavar="M[,M...]", help="or all")
    one.add_argument("--batch", type=int, default=16, metavar="N", help="default: %(default)s")
    one.add_argument("--no-winograd", action="store_true", help="only direct convolution")
    one.add_argument("--isa", metavar="SET[,SET...]", help="default: the best")

    one = subjects.add_parser(
        "ops",
        help="what memory bounds: pooling, normalisation, optimizers",
        description=f"{ops.__doc__}",
    )
    _add_common(one, run_ops, seconds=0.3)
    one.add_argument("--batch", type=int, default=16, metavar="N", help="default: %(default)s")
    one.add_argument("--isa", metavar="SET[,SET...]", help="default: the best")

    one = subjects.add_parser(
        "nets",
        help="whole networks beside other frameworks",
        description="Whole networks, each framework in a process of its own, in turns, from the "
        "same weights and with the same number of threads; medians over rounds. A peer's last "
        "column is its time over Striate's.",
    )
    _add_common(one, run_nets, seconds=5.0)
    one.add_argument("--model", default="lenet5", metavar="M[,M...]", help="or all")
    one.add_argument("--batch", default="64", metavar="N[,N...]", help="default: %(default)s")
    one.add_argument("--mode", default="train", help="train, infer or both, with a comma")
    one.add_argument("--dtype", choices=nets.DTYPES, default="float32", help="of the products")
    one.add_argument(
        "--peers",
        default="torch,onnxruntime,openvino",
        help="other frameworks, one variant of torch as in torch:compile, or nothing "
        "(default: %(default)s)",
    )


def _add_common(parser: argparse.ArgumentParser, run: Any, seconds: float) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        metavar="S",
        help="time for one measurement, after warming up (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all)")
    options.add_json(parser)
    parser.set_defaults(run=run)


def run_machine(args: argparse.Namespace) -> int:
    report = _Report(args, "machine")
    report.machine["caches"] = machine.caches()
    report.console.line(", ".join(f"{k} {v}" for k, v in report.machine["caches"].items()))
    for isa in _isas(args, timing.available_isas()):
        for row in _rows(args, isa, ["machine"], lambda: machine.measure(args.seconds)):
            label = f"{row['isa']} {row['measure']}, threads: {row['threads']}"
            report.add(row, f"{label:<36} {row['rate']:>8.1f} {row['unit']}")
    return report.finish()


def run_convs(args: argparse.Namespace) -> int:
    names = _models(args.model)
    _check_positive(args, "batch")
    report = _Report(args, "convs")
    arguments = ["convs", "--model", args.model, "--batch", str(args.batch)]
    arguments += ["--no-winograd"] * args.no_winograd
    st.config.winograd = not args.no_winograd
    for isa in _isas(args, [st.cpu_isa()]):
        rows = _rows(args, isa, arguments, lambda: convs.measure(names, args.batch, args.seconds))
        for row in rows:
            report.add(
                row,
                f"{row['convolution']:<30} {row['pass']:<11} {row['algorithm']:<9} "
                f"{row['milliseconds']:>9.3f} ms {row['gflops']:>7,.0f} GFLOP/s, executed "
                f"{row['gflops_executed']:>6,.0f}, {row['fraction_of_peak']:>4.0%} of {isa}'s peak",
            )
        for kind in convs.PASSES:
            of_direct = [
                row["fraction_of_peak"]
                for row in report.rows
                if (row["isa"], row["pass"], row["algorithm"]) == (isa, kind, "direct")
            ]
            if of_direct:
                report.console.line(
                    f"{isa}, {kind}, direct: geometric mean "
                    f"{math.exp(sum(map(math.log, of_direct)) / len(of_direct)):.1%} of peak"
                )
    return report.finish()


def run_ops(args: argparse.Namespace) -> int:
    _check_positive(args, "batch")
    report = _Report(args, "ops")
    for isa in _isas(args, [st.cpu_isa()]):
        arguments = ["ops", "--batch", str(args.batch)]
        for row in _rows(args, isa, arguments, lambda: ops.measure(args.batch, args.seconds)):
            report.add(
                row,
                f"{row['operation']:<28} {row['milliseconds']:>9.3f} ms "
                f"{row['gb_per_second']:>7.1f} GB/s, {row['fraction_of_triad']:>5.0%} of a triad's",
            )
    return report.finish()


def run_nets(args: argparse.Namespace) -> int:
    names = _models(args.model)
    modes = _chosen("mode", args.mode, nets.MODES)
    peers = _chosen("peers", args.peers, nets.PEERS) if args.peers else []
    batches = _numbers("batch", args.batch)
    report = _Report(args, "nets")
    for model in names:
        for mode in modes:
            for batch in batches:
                report.console.line(f"{model}, {mode}, batch {batch}")
                case = nets.Case(model, mode, batch, st.get_num_threads(), args.dtype)
                for row in nets.measure(case, peers, args.seconds, report.console.line):
                    report.add(
                        row,
                        f"{name(row):<20} {row['milliseconds']:>11.3f} ms "
                        f"{row['images_per_second']:>11,.1f} images/s {row['peak_mb']:>7,.0f} MB "
                        f"{row.get('ratio', 1):>7.2f}",
                    )
    return report.finish()


class _Report:
    """Checks what the subjects have in common, shows rows as they come and keeps them."""

    def __init__(self, args: argparse.Namespace, subject: str) -> None:
        if not args.seconds > 0:
            raise st.ArgumentError(f"bench: expected --seconds > 0, got {args.seconds}")
        options.set_threads(args)
        facts = machine_report()
        self.console = Console(machine=args.json)
        self.rows: list[Row] = []
        self.subject = subject
        self.machine = {key: facts[key] for key in ("cpu", "isa", "threads", "system", "python")}
        self.console.line("{cpu}, {isa}, threads: {threads}".format(**self.machine))

    def add(self, row: Row, line: str) -> None:
        self.rows.append(row)
        self.console.line(line)

    def finish(self) -> int:
        self.console.result({"subject": self.subject, "machine": self.machine, "rows": self.rows})
        return 0


def _rows(args: argparse.Namespace, isa: str, arguments: list[str], measure: Any) -> Iterable[Row]:
    """The rows of `measure` with an instruction set; another than this process's takes a child."""
    if isa == st.cpu_isa():
        rows: Iterable[Row] = measure()
        return rows
    arguments += ["--seconds", str(args.seconds), "--threads", str(st.get_num_threads())]
    return timing.rows_in_child(arguments, isa)


def _isas(args: argparse.Namespace, default: list[str]) -> list[str]:
    return _chosen("isa", args.isa, timing.available_isas()) if args.isa else default


def _models(text: str) -> list[str]:
    known = models.list_models()
    return known if text == "all" else _chosen("model", text, known)


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


def _check_positive(args: argparse.Namespace, option: str) -> None:
    if getattr(args, option) < 1:
        raise st.ArgumentError(f"bench: expected --{option} >= 1, got {getattr(args, option)}")
