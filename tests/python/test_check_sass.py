"""scripts/check_sass.py must find what it looks for: here each fault is compiled on purpose."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_sass.py"

# An index that is known only at run time puts the array into local memory.
KERNELS = """
__global__ void plain_kernel(float* y) { y[threadIdx.x] = 2 * y[threadIdx.x]; }
#ifdef SPILLS
__global__ void spilling_kernel(const int* at, float* y) {
  float values[32];
  for (int i = 0; i < 32; ++i) values[i] = y[i * 32];
  for (int i = 0; i < 32; ++i) values[at[i]] += 1;
  for (int i = 0; i < 32; ++i) y[i] = values[at[i]];
}
#endif
#ifdef NO_TENSOR_CORES
__global__ void mma_kernel(float* y) { y[threadIdx.x] += 1; }
#endif
"""
SM_80 = "-gencode=arch=compute_80,code=sm_80"
SM_90 = "-gencode=arch=compute_90,code=sm_90"
SM_90A = "-gencode=arch=compute_90a,code=sm_90a"
PTX_80 = "-gencode=arch=compute_80,code=compute_80"


def check(tmp_path: Path, *flags: str) -> tuple[int, str]:
    if shutil.which("nvcc") is None:
        pytest.skip("needs nvcc")
    (tmp_path / "kernels.cu").write_text(KERNELS)
    library = tmp_path / "kernels.o"
    subprocess.run(
        ["nvcc", *flags, "-c", str(tmp_path / "kernels.cu"), "-o", str(library)], check=True
    )
    expected = ["--arch", "sm_80", "--arch", "sm_90a", "--ptx", "sm_80"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(library), *expected], capture_output=True, text=True
    )
    if "install nvidia-cuda-cuobjdump" in done.stderr:
        pytest.skip("needs nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm")
    return done.returncode, done.stdout + done.stderr


def test_faultless_code_passes(tmp_path: Path) -> None:
    status, output = check(tmp_path, SM_80, SM_90A, PTX_80)
    assert status == 0, output
    assert "sm_90a: 1 kernels" in output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((SM_80, SM_90A, PTX_80, "-DSPILLS"), "sm_90a: _Z15spilling_kernelPKiPf: "),
        ((SM_80, SM_90A, PTX_80, "-DNO_TENSOR_CORES"), "mma_kernelPf: no HMMA"),
        ((SM_80, PTX_80), "sm_90a: missing"),
        ((SM_80, SM_90, PTX_80), "sm_90: not expected"),
        ((SM_80, SM_90A), "PTX for sm_80: missing"),
    ],
)
def test_faults_are_found(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    status, output = check(tmp_path, *flags)
    assert status == 1, output
    assert message in output
