"""Compare Striate with other frameworks on this machine."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import striate as st
from striate import models
from striate.cli import bench_worker, options
from striate.cli.console import Console
from striate.cli.doctor import machine_report

_SETTLE_SECONDS = 0.1  # lets the spinning threads of the last worker go to sleep
_PROBE_TOLERANCE = 1e-3  # on log-probabilities, after bench_worker.PROBE_STEPS steps


class Worker:
    """One mode of one framework, in a process of its own (see bench_worker)."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.framework: str = job["framework"]
        self.name = f"{job['framework']} {job['variant']}".strip()
        self.milliseconds: list[float] = []
        # Run by path, so that a peer's process does not import striate.
        command = f"import runpy; runpy.run_path({bench_worker.__file__!r}, run_name='__main__')"
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(job["threads"])},
        )
        ready = self._answer()
        self.error: str = ready.get("error", "")
        self.version: str = ready.get("version", "")
        self.probe = np.array(ready.get("probe", ()))

    def measure(self) -> None:
        """One round; the worker then waits, idle, for the next."""
        assert self._process.stdin is not None
        time.sleep(_SETTLE_SECONDS)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(f"bench: {self.name}: {answer['error']}")
        self.milliseconds.append(answer["milliseconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"process ended with code {self._process.wait()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("bench", help="compare with other frameworks", description=__doc__)
    subjects = parser.add_subparsers(title="subjects", metavar="SUBJECT", required=True)
    nets = subjects.add_parser(
        "nets",
        help="whole networks",
        description="Whole networks, each framework in a process of its own, in turns, from the "
        "same weights and with the same number of threads; medians over rounds.",
    )
    nets.add_argument("--model", choices=("lenet5",), default="lenet5")
    nets.add_argument("--batch", type=int, default=64, metavar="N")
    nets.add_argument("--mode", choices=("train", "infer"), default="train")
    nets.add_argument("--peers", default="torch,onnxruntime", help="default: %(default)s")
    nets.add_argument("--rounds", type=int, default=7, metavar="N", help="default: %(default)s")
    nets.add_argument("--threads", type=int, metavar="N", help="for each (default: all)")
    options.add_json(nets)
    nets.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    peers = [peer for peer in args.peers.split(",") if peer]
    for peer in peers:
        if peer not in bench_worker.VARIANTS:
            known = ", ".join(bench_worker.VARIANTS)
            raise st.ArgumentError(f"bench: expected --peers of {known}, got {peer!r}")
    for name in ("batch", "rounds"):
        if getattr(args, name) < 1:
            raise st.ArgumentError(f"bench: expected --{name} >= 1, got {getattr(args, name)}")
    options.set_threads(args)
    console = Console(machine=args.json)
    frameworks = ["striate", *(peer for peer in peers if peer != "striate")]
    with _workers(args, frameworks, console) as workers:
        for _ in range(args.rounds):
            for worker in workers:
                worker.measure()
    report = _report(args, workers)
    _show(report, console)
    console.result(report)
    return 0


@contextlib.contextmanager
def _workers(
    args: argparse.Namespace, frameworks: list[str], console: Console
) -> Iterator[list[Worker]]:
    """A warm worker per framework and variant; what cannot run is named with the reason."""
    workers: list[Worker] = []
    with tempfile.TemporaryDirectory() as directory:
        weights = Path(directory, "weights.npz")
        st.manual_seed(0)
        np.savez(weights, *(p.detach().numpy() for p in models.get_model(args.model).parameters()))
        job = {"weights": str(weights), "batch": args.batch, "mode": args.mode}
        job["threads"] = st.get_num_threads()
        try:
            for framework in frameworks:
                variants = bench_worker.VARIANTS[framework][args.mode]
                if not variants:
                    console.line(f"{framework}: left out: has no {args.mode} mode")
                for variant in variants:
                    worker = Worker(job | {"framework": framework, "variant": variant})
                    workers.append(worker)
                    if worker.error:
                        console.line(f"{worker.name}: left out: {worker.error}")
                    elif not np.allclose(worker.probe, workers[0].probe, atol=_PROBE_TOLERANCE):
                        worker.error = "computes something else than striate"
                        raise RuntimeError(f"bench: {worker.name} {worker.error}")
            if workers[0].error:
                raise RuntimeError(f"bench: striate: {workers[0].error}")
            yield [worker for worker in workers if not worker.error]
        finally:
            for worker in workers:
                worker.close()


def _report(args: argparse.Namespace, workers: list[Worker]) -> dict[str, Any]:
    rows = []
    for worker in workers:
        milliseconds = statistics.median(worker.milliseconds)
        rows.append(
            {
                "framework": worker.framework,
                "name": worker.name,
                "version": worker.version,
                "milliseconds": round(milliseconds, 5),
                "images_per_second": round(args.batch * 1e3 / milliseconds, 1),
                "rounds": [round(ms, 5) for ms in worker.milliseconds],
            }
        )
    best = min(rows[1:], key=lambda row: row["milliseconds"], default=None)
    machine = machine_report()
    return {
        "command": f"striate bench nets --model {args.model} --batch {args.batch} "
        f"--mode {args.mode} --peers {args.peers} --threads {machine['threads']}",
        "machine": {key: machine[key] for key in ("cpu", "isa", "threads", "system", "python")},
        "model": args.model,
        "batch": args.batch,
        "mode": args.mode,
        "results": rows,
        "best_peer": best and best["name"],
        "ratio": best and round(best["milliseconds"] / rows[0]["milliseconds"], 3),
    }


def _show(report: dict[str, Any], console: Console) -> None:
    machine = report["machine"]
    console.line(
        f"{report['model']}, batch {report['batch']}, {report['mode']}; {machine['cpu']}, "
        f"{machine['isa']}, {machine['threads']} threads"
    )
    for row in report["results"]:
        console.line(
            f"{row['name']:<24} {row['milliseconds']:>10.3f} ms "
            f"{row['images_per_second']:>12,.0f} images/s   {row['version']}"
        )
    if report["best_peer"]:
        console.line(f"striate / {report['best_peer']}: {report['ratio']:.2f}x")
