"""Runs the committed benchmarks, one results file a subject.

    python benchmarks/run.py SUBJECT [--only TEXT] [--limit SECONDS] [--again]

SUBJECT is machine, convs, ops, nets, bfloat16, scaling or `all`; the extra `bench` (torch,
onnxruntime, onnx, openvino) is needed. A subject is measured in pieces, each a command of its own,
and the file is written after every piece: a run that was cut, or that --limit ended, goes on where
it stopped.
--again measures what the file already has; --only takes the pieces whose command contains TEXT.
Commit the files, then run update_readme.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from striate.bench.rows import compare

RESULTS = Path(__file__).parent / "results"
MODELS = ("lenet5", "alexnet", "vgg16", "resnet18", "resnet50", "resnet152")
TRAIN_BATCH = {"lenet5": 64}
_IDENTITY = (
    *("measure", "operation", "convolution", "pass", "winograd", "model", "mode", "dtype", "batch"),
    *("isa", "threads", "framework", "variant"),
)


def nets() -> list[list[str]]:
    """Training in a piece per variant of torch: each may take a minute."""
    pieces = []
    for model in MODELS:
        command = ["nets", "--model", model, "--mode", "infer"]
        for batch in ("1", "16"):
            for peers in ("torch", "onnxruntime,openvino"):
                pieces.append([*command, "--batch", batch, "--peers", peers])
        for variant in ("eager", "channels_last", "compile"):
            batch = str(TRAIN_BATCH.get(model, 16))
            command = ["nets", "--model", model, "--mode", "train", "--batch", batch]
            pieces.append([*command, "--peers", f"torch:{variant}"])
    return pieces


def bfloat16() -> list[list[str]]:
    command = ["nets", "--model", "resnet50", "--dtype", "bfloat16"]
    return [
        [*command, "--mode", "infer", "--batch", "1", "--peers", "openvino"],
        [*command, "--mode", "train", "--batch", "16", "--peers", "torch:channels_last"],
    ]


def convs() -> list[list[str]]:
    """As chosen, and direct convolution alone on two instruction sets."""
    return [
        ["convs", "--model", model, "--seconds", "0.1", *options]
        for options in ([], ["--no-winograd"], ["--no-winograd", "--isa", "avx2"])
        for model in ("resnet50", "vgg16")
    ]


def scaling() -> list[list[str]]:
    common = ["--mode", "infer", "--peers", "openvino", "--seconds", "2"]
    return [
        ["nets", "--model", model, "--batch", batches, "--threads", threads, *common]
        for model in ("lenet5", "resnet18", "resnet50")
        for threads in ("1", "2")
        for batches in ("1,2,4,8", "16,32", "64")
    ]


PIECES = {
    "machine": [["machine"]],
    "convs": convs(),
    "ops": [["ops"]],
    "nets": nets(),
    "bfloat16": bfloat16(),
    "scaling": scaling(),
}


def merge(subject: str, command: list[str], report: dict) -> None:
    """Adds a report's rows to the subject's file, in place of those of the same case."""
    path = RESULTS / f"{subject}.json"
    result = {"subject": subject, "command": f"python benchmarks/run.py {subject}"}
    result |= {"machine": report["machine"], "pieces": [], "rows": []}
    if path.exists():
        result |= json.loads(path.read_text())
    words = " ".join(command)
    result["pieces"] = sorted({*result["pieces"], words}, key=order_in(subject))
    measured = {identity(row): row for row in result["rows"]}
    for row in report["rows"]:
        measured[identity(row)] = row | {"commit": commit()}
    result["rows"] = list(measured.values())
    path.parent.mkdir(exist_ok=True)
    if subject in ("nets", "bfloat16", "scaling"):
        compare(result["rows"])
    rows = ",\n  ".join(json.dumps(row) for row in result.pop("rows"))
    head = json.dumps(result, indent=1).removesuffix("\n}")
    path.write_text(f'{head},\n "rows": [\n  {rows}\n ]\n}}\n')


def identity(row: dict) -> tuple:
    return tuple(row.get(key) for key in _IDENTITY)


def order_in(subject: str):
    known = [" ".join(piece) for piece in PIECES[subject]]
    return lambda words: (known.index(words) if words in known else len(known), words)


def commit() -> str:
    describe = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--abbrev=12"]
    return subprocess.run(describe, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def done(subject: str) -> list[str]:
    path = RESULTS / f"{subject}.json"
    return json.loads(path.read_text())["pieces"] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subject", choices=(*PIECES, "all"))
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--limit", type=float, default=float("inf"), metavar="SECONDS")
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    start = time.monotonic()
    for subject in PIECES if args.subject == "all" else [args.subject]:
        for piece in PIECES[subject]:
            words = " ".join(piece)
            if args.only not in words or (not args.again and words in done(subject)):
                continue
            if time.monotonic() - start > args.limit:
                return
            print("striate bench", words, flush=True)
            command = [sys.executable, "-m", "striate", "bench", *piece, "--json"]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            merge(subject, piece, json.loads(output.splitlines()[-1]))


if __name__ == "__main__":
    main()
