"""Runs the comparisons of the README's table and writes one results file.

    python benchmarks/run.py benchmarks/results/NAME.json

needs the extra `bench` (torch, onnxruntime, onnx). Commit the file, then run update_readme.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

CASES = [
    ("lenet5", "train", 64),
    ("lenet5", "infer", 64),
    ("lenet5", "infer", 1),
]


def bench(model: str, mode: str, batch: int, threads: int | None) -> dict:
    command = [sys.executable, "-m", "striate", "bench", "nets", "--json"]
    command += ["--model", model, "--mode", mode, "--batch", str(batch)]
    if threads is not None:
        command += ["--threads", str(threads)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def commit() -> str:
    root = Path(__file__).parent
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(describe, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    runs = [bench(*case, args.threads) for case in CASES]
    result = {
        "command": f"python benchmarks/run.py {args.out}",
        "commit": commit(),
        "machine": runs[0]["machine"],
        "runs": runs,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
