"""The exact tests on each instruction set, forced through STRIATE_CPU_ISA in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import striate as st

NEEDS = {
    "baseline": set(),
    "avx2": {"avx2", "fma"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
}


def processor_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


def run(isa: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "STRIATE_CPU_ISA": isa},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("isa", NEEDS)
def test_exact_on(isa):
    if isa == st.cpu_isa():
        pytest.skip("this very session runs the files on it")
    missing = NEEDS[isa] - processor_flags()
    if missing:
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")
    shown = run(isa, "-c", "import striate; print(striate.cpu_isa())")
    assert shown.stdout.strip() == isa, shown.stderr
    files = ("test_conv_exact.py", "test_winograd.py", "test_bfloat16.py")
    result = run(isa, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files)
    assert result.returncode == 0, result.stdout[-3000:]


# Of 10,003 normal values in float32, then in float64, with seed 7.
NORMAL_VALUES = """
import hashlib, striate as st
digest = hashlib.sha256()
st.manual_seed(7)
for dtype in ("float32", "float64"):
    digest.update(st.randn((10_003,), dtype=dtype).numpy().tobytes())
print(digest.hexdigest()[:16])
"""


@pytest.mark.parametrize("isa", NEEDS)
def test_normal_values_are_the_same_everywhere(isa):
    missing = NEEDS[isa] - processor_flags()
    if missing:
        pytest.skip(f"this processor lacks {', '.join(sorted(missing))}")
    result = run(isa, "-c", NORMAL_VALUES)
    assert result.stdout.strip() == "6b64af64334fbc7b", result.stderr


def test_unknown_instruction_set_is_refused():
    result = run("sse9", "-c", "import striate as st; st.ones((4, 4)) @ st.ones((4, 4))")
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert "STRIATE_CPU_ISA" in message
    assert "sse9" in message
