"""Everything that only a GPU can show, in one command of less than nine minutes:

    python benchmarks/gpu_check.py benchmarks/results/gpu.json --data DIRECTORY

The device and its driver; the tests that take a device, on cuda; results against float64 on
poisoned memory; compute-sanitizer; bits that repeat beside a competing stream; LeNet-5 on real
digits; then networks and convolutions beside PyTorch with cuDNN. Each step runs in a process of its
own with a limit, and the file is written anew after each, so that a run cut short keeps what it
has. `--device cpu --quick` rehearses it all where there is no GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

SMALL, LARGE = (1, 32, 32), (3, 224, 224)
EVERY = {"striate": ("eager", "graph"), "torch": ("eager", "graph")}
MAIN = {"striate": ("graph",), "torch": ("eager",)}
# Network, the size of its input, batch, arithmetic, and what is compared; slow compilations last.
NETS: tuple[tuple[str, tuple[int, ...], int, str, dict[str, tuple[str, ...]]], ...] = (
    ("lenet5", SMALL, 64, "float32", EVERY),
    ("resnet50", LARGE, 256, "bfloat16", MAIN),
    ("resnet20", (3, 32, 32), 128, "float32", EVERY),
    ("resnet20", (3, 32, 32), 128, "bfloat16", EVERY),
    ("resnet50", LARGE, 256, "tf32", MAIN),
    ("resnet18", LARGE, 256, "bfloat16", MAIN),
    ("vgg16", LARGE, 64, "bfloat16", MAIN),
    ("alexnet", LARGE, 256, "bfloat16", MAIN),
    ("resnet50", LARGE, 256, "bfloat16", {"torch": ("compile",)}),
)
MODES = ("train", "infer")


def cases() -> Iterator[dict[str, Any]]:
    """A network in one mode of one framework each; those to be compared follow each other."""
    for model, size, batch, arithmetic, compared in NETS:
        for mode, (framework, variants) in itertools.product(MODES, compared.items()):
            for variant in variants:
                yield {
                    "model": model,
                    "size": size,
                    "batch": batch,
                    "arithmetic": arithmetic,
                    "mode": mode,
                    "framework": framework,
                    "variant": variant,
                }


class Report:
    """The results so far, in a file that is replaced in one step."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path, self.values = path, values

    def add(self, name: str, value: Any) -> None:
        self.values[name] = value
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:
            json.dump(self.values, file, indent=1)
        os.replace(file.name, self.path)


def step(name: str, seconds: float, **arguments: Any) -> dict[str, Any]:
    """Runs one step of gpu_steps.py; its result is the last line that it prints."""
    start = time.monotonic()
    command = [sys.executable, str(HERE / "gpu_steps.py"), name, json.dumps(arguments)]
    result = run(command, seconds)
    if result["code"] == 0:
        result |= json.loads(result.pop("output").splitlines()[-1])
    result["seconds"] = round(time.monotonic() - start, 1)
    return result


def run(command: list[str], seconds: float) -> dict[str, Any]:
    """The exit code and the end of the output; "timeout" where it took too long."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return {"code": "timeout", "output": _tail(late.stdout)}
    except OSError as error:
        return {"code": "missing", "output": str(error)}
    return {"code": done.returncode, "output": _tail(done.stdout)}


def _tail(output: str | bytes | None) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return text[-4000:]


def first_line(command: list[str]) -> str:
    lines = run(command, 30)["output"].splitlines()
    return lines[0] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", help="directory with mnist/; without it LeNet-5 learns digits")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, for a rehearsal")
    parser.add_argument("--budget", type=float, default=530, help="seconds in all")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def left(most: float) -> float:
        return max(1.0, min(most, arguments.budget - (time.monotonic() - started)))

    common = {"device": arguments.device, "quick": arguments.quick}
    query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm"
    report = Report(
        arguments.out,
        {
            "command": " ".join(["python", "benchmarks/gpu_check.py", *sys.argv[1:]]),
            "commit": first_line(["git", "rev-parse", "HEAD"]),
            "gpu": first_line(["nvidia-smi", query, "--format=csv,noheader"]),
        },
    )
    report.add("report", step("report", left(60), **common))
    report.add("references", step("references", left(90), **common))
    report.add("determinism", step("determinism", left(60), **common))
    for tool in ("memcheck", "racecheck"):
        target = [sys.executable, str(HERE / "gpu_steps.py"), "sanitized", json.dumps(common)]
        command = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", *target]
        report.add(tool, run(command, left(60)))
    report.add("lenet5", step("lenet5", left(60), **common, data=arguments.data))
    for framework in ("striate", "torch"):
        report.add(f"convs/{framework}", step("convs", left(40), **common, framework=framework))
    # With "=": pytest reads the file that declares the option only if no word looks like a path.
    suite = [sys.executable, "-m", "pytest", "-q", f"--device={arguments.device}", "--maxfail=20"]
    if arguments.quick:
        suite.append("--collect-only")
    report.add("suite", run(suite, left(150)))
    for case in cases():
        key = "/".join([case[k] for k in ("model", "mode", "arithmetic", "framework", "variant")])
        report.add(key, step("net", left(60), **common, **case))
    report.add("seconds", round(time.monotonic() - started, 1))
    print(json.dumps(report.values, indent=1))
    results = {k: v for k, v in report.values.items() if isinstance(v, dict)}
    failed = [name for name, result in results.items() if result["code"] != 0]
    print("failed:", ", ".join(failed) or "nothing")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
