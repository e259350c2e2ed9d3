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


# Results of batch norm's passes: columns that do and do not fill vectors, an odd number of rows,
# ties of bfloat16's rounding, infinities and NaN. Its sums are taken without the last two.
BATCH_NORM = """
import hashlib, numpy as np, striate as st
digest = hashlib.sha256()
for dtype in ("bfloat16", "float32"):
    for n, c in ((331, 24), (77, 64), (9, 300)):
        bits = np.arange(2 * n * c, dtype=np.uint32).reshape(2, n, c) * np.uint32(2654435761)
        values = ((bits >> 20).astype(np.float32) - 2048) / 512
        for special in ((), (np.nan, np.inf, -np.inf, 3e-39, -0.0)):
            values[:, : len(special), 1] = np.asarray(special, np.float32)
            for relu in (False, True):
                for with_residual in (False, True):
                    x, residual = (st.tensor(v).to(dtype).detach() for v in values)
                    w = st.full((c,), 0.75)
                    for t in (x, residual, w):
                        t.requires_grad = True
                    training = not special
                    mean, var = st.full((c,), 0.1), st.full((c,), 1.7)
                    y = st._core.batch_norm(
                        x, mean, var, w, w, training,
                        residual=residual if with_residual else None, relu=relu)
                    y.backward((y * residual).detach())
                    for t in (y.detach(), x.grad, w.grad, mean, var):
                        a = t.to("float32").numpy()
                        digest.update(np.where(np.isnan(a), 7, a).tobytes())
print(digest.hexdigest()[:16])
"""


def test_batch_norm_is_the_same_everywhere():
    """Whatever rounds to bfloat16: an instruction or arithmetic."""
    sets = [isa for isa, flags in NEEDS.items() if not flags - processor_flags()]
    results = [run(isa, "-c", BATCH_NORM) for isa in sets]
    digests = {result.stdout.strip() for result in results}
    assert len(digests) == 1, [result.stderr for result in results]
    assert len(digests.pop()) == 16, results[0].stderr


def test_unknown_instruction_set_is_refused():
    result = run("sse9", "-c", "import striate as st; st.ones((4, 4)) @ st.ones((4, 4))")
    assert result.returncode == 1
    message = result.stderr.strip().splitlines()[-1]
    assert "STRIATE_CPU_ISA" in message
    assert "sse9" in message
