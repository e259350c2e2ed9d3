"""Plants bugs in kernels.cu, one at a time, and expects the harness to catch each.

    planted_bugs.py --harness asan:LIBRARY --harness race:LIBRARY [--include DIR ...]

A harness is a static library of scheduler, race detector and runtime. The file as it stands must
pass in both of them under every schedule; a bug must fail, with the message named here, in the one
named.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SCHEDULES = ("forward", "reverse", "random:1")
FLAGS = {
    "asan": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "race": ["-fsanitize=thread"],
}


class Bug(NamedTuple):
    name: str
    old: str
    new: str
    harness: str
    message: str


BUGS = (
    Bug(
        "removed barrier",
        "__syncthreads();  // the tile is full",
        "",
        "race",
        "race:|uninitialised:",
    ),
    Bug(
        "shared race between phases",
        "__syncthreads();  // the sums were read",
        "",
        "race",
        "race: .*",
    ),
    Bug(
        "barrier that some threads do not reach",
        "__syncthreads();  // the warps' sums are there",
        "if (threadIdx.x < 64) __syncthreads();",
        "asan",
        "divergence:",
    ),
    Bug(
        "missing __syncwarp",
        "__syncwarp();  // the warp's values are there",
        "",
        "race",
        "race:|uninitialised:",
    ),
    Bug(
        "shuffle of half a mask",
        "__shfl_down_sync(~0u,",
        "__shfl_down_sync(0xFFFFu,",
        "asan",
        "mask",
    ),
    Bug(
        "shuffle in one branch",
        "float sum = i < n ? x[i] : 0;",
        "float sum = i < n ? x[i] : 0;\n  if (i % 32 < 5) sum = __shfl_sync(~0u, sum, 0);",
        "asan",
        "divergence:",
    ),
    Bug(
        "off by one",
        "if (i < n) atomicAdd",
        "if (i <= n) atomicAdd",
        "asan",
        "heap-buffer-overflow",
    ),
    Bug("missing tail check", "if (row < m) c[", "c[", "asan", "heap-buffer-overflow"),
    Bug(
        "wrong stride",
        "y[column * rows + row]",
        "y[column * columns + row]",
        "asan",
        "heap-buffer-overflow|wrong result",
    ),
    Bug(
        "shared tile one row short",
        "float tile[kTile][",
        "float tile[kTile - 1][",
        "asan",
        "runtime error: index|global-buffer-overflow",
    ),
    Bug(
        "plain += for a shared atomic",
        "atomicAdd(&counts[x[i]], 1)",
        "counts[x[i]] += 1",
        "race",
        "race:",
    ),
    Bug(
        "plain += for a global atomic",
        "atomicAdd(&bins[threadIdx.x], counts[threadIdx.x])",
        "bins[threadIdx.x] += counts[threadIdx.x]",
        "race",
        "race:",
    ),
    Bug("missing initialisation", "counts[threadIdx.x] = 0;", ";", "race", "uninitialised:"),
    Bug("missing wait", "cp_async_wait_group<1>();", "", "asan", "wrong result: gemm"),
    Bug(
        "wait for one group too few",
        "cp_async_wait_group<1>();",
        "cp_async_wait_group<2>();",
        "asan",
        "wrong result: gemm",
    ),
    Bug(
        "missing barrier after the wait",
        "__syncthreads();           // of all lanes",
        "",
        "race",
        "race:|uninitialised:",
    ),
    Bug(
        "stage filled too early",
        "__syncthreads();  // the stage may be filled again",
        "",
        "race",
        "race:",
    ),
    Bug(
        "missing zero fill",
        "const bool b_valid = step * kDepth + lane < k;",
        "const bool b_valid = true;",
        "asan",
        "heap-buffer-overflow",
    ),
    Bug(
        "wrong lane of a fragment",
        "&stage.a[lane % 16][lane / 16 * 8]",
        "&stage.a[lane / 2][lane % 2 * 8]",
        "asan",
        "wrong result: gemm",
    ),
    Bug("missing transpose", "ldmatrix_x2_trans", "ldmatrix_x2", "asan", "wrong result: gemm"),
    Bug(
        "misaligned copy",
        "&a[(row0 + r) * k + depth]",
        "&a[(row0 + r) * k + depth] + 4 - 8 * (r > 0)",
        "asan",
        "misaligned",
    ),
    Bug(
        "too little shared memory",
        "kStages * kDepth * 24 * 2",
        "kDepth * 24 * 2",
        "asan",
        "heap-buffer-overflow",
    ),
)


class Harness(NamedTuple):
    libraries: dict[str, str]
    includes: list[str]
    compiler: str

    def build(self, source: Path, kind: str) -> Path:
        program = source.with_suffix(f".{kind}")
        command = [self.compiler, "-std=c++20", "-O1", "-g", *FLAGS[kind], "-Wno-attributes"]
        command += [
            "-ftrivial-auto-var-init=pattern",
            "-fno-strict-aliasing",
            "-Wno-unknown-pragmas",
        ]
        command += [f"-I{path}" for path in self.includes]
        command += ["-x", "c++", "-include", str(HERE.parent / "simt.h"), "-c", str(source)]
        subprocess.run([*command, "-o", f"{program}.o"], check=True)
        # The race build has hooks of its own in place of ThreadSanitizer's library.
        link = FLAGS[kind] if kind == "asan" else []
        subprocess.run(
            [self.compiler, *link, f"{program}.o", self.libraries[kind], "-o", str(program)],
            check=True,
        )
        return program


def run(program: Path, schedule: str) -> tuple[bool, str]:
    environment = os.environ | {"SIMT_SCHEDULE": schedule}
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stderr


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--harness", action="append", required=True)
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--compiler", default="g++")
    options = parser.parse_args()
    harness = Harness(
        dict(text.split(":", 1) for text in options.harness), options.include, options.compiler
    )
    original = (HERE / "kernels.cu").read_text()
    failures = []

    with tempfile.TemporaryDirectory() as folder:

        def check_original(kind: str) -> None:
            source = Path(folder) / "original.cu"
            program = harness.build(source, kind)
            for schedule in SCHEDULES:
                passed, output = run(program, schedule)
                if not passed:
                    failures.append(f"{kind}, {schedule}: fails without a bug:\n{output}")

        def check_bug(number: int, bug: Bug) -> None:
            if original.count(bug.old) != 1:
                failures.append(f"{bug.name}: {bug.old!r} must be there exactly once")
                return
            source = Path(folder) / f"bug{number}.cu"
            source.write_text(original.replace(bug.old, bug.new))
            program = harness.build(source, bug.harness)
            results = {schedule: run(program, schedule) for schedule in SCHEDULES}
            caught = [
                s
                for s, (passed, text) in results.items()
                if not passed and re.search(bug.message, text)
            ]
            print(f"{bug.name}: {bug.harness}, {', '.join(caught) or 'NOT CAUGHT'}")
            if not caught:
                failures.append(
                    f"{bug.name}: not caught\n" + "\n".join(text for _, text in results.values())
                )

        (Path(folder) / "original.cu").write_text(original)
        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(check_original, kind) for kind in FLAGS]
            jobs += [pool.submit(check_bug, number, bug) for number, bug in enumerate(BUGS)]
            for job in jobs:
                job.result()

    print(*failures, sep="\n")
    print(f"{len(BUGS)} planted bugs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
