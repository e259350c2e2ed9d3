"""Checks the machine code of the CUDA kernels in a library or an object: no GPU needed.

    python scripts/check_sass.py python/striate/lib/libstriate.so

Every architecture must be there, with the same kernels and under its own name (sm_90a is not
sm_90). No kernel may touch local memory, where registers spill and arrays without a fixed index go.
Kernels with mma in their names must use tensor cores and asynchronous copies. The disassembler is
that of nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm on PyPI, or of a CUDA toolkit.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_120")
PTX = "sm_80"
TENSOR_CORE_KERNEL = re.compile(r"(?<![a-z])[Mm]ma")  # mma_kernel, a template over Bf16Mma
REQUIRED = {"HMMA": "tensor cores", "LDGSTS": "asynchronous copies"}

# Counts of opcodes by architecture and kernel.
Code = dict[str, dict[str, Counter[str]]]


def tool_directories() -> list[str]:
    packages = Path(sysconfig.get_path("purelib")) / "nvidia"
    return [str(path) for path in packages.glob("*/bin")]


def cuobjdump(*arguments: str) -> str:
    path = os.pathsep.join([*tool_directories(), os.environ.get("PATH", "")])
    program = shutil.which("cuobjdump", path=path)
    if program is None:
        raise FileNotFoundError("cuobjdump: install nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm")
    done = subprocess.run(
        [program, *arguments], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"cuobjdump {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def read_code(listing: str) -> Code:
    """Counts the opcodes in the output of cuobjdump -sass."""
    instruction = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]*)")
    code: Code = {}
    architecture = ""
    opcodes: Counter[str] = Counter()
    for line in listing.splitlines():
        if line.startswith("arch = "):
            architecture = line.removeprefix("arch = ").strip()
        elif "Function :" in line:
            opcodes = Counter()
            code.setdefault(architecture, {})[line.split(":", 1)[1].strip()] = opcodes
        elif match := instruction.match(line):
            opcodes[match[1]] += 1
    return code


def stem(kernel: str) -> str:
    """The mangled name without nvcc's number for the anonymous namespace."""
    return re.sub(r"\d+_GLOBAL__N__[0-9a-f]{8}_\d+_\w+?_cu_[0-9a-f]{8}", "", kernel)


def find_faults(code: Code, ptx: str, architectures: tuple[str, ...], ptx_target: str) -> list[str]:
    faults = [f"{name}: missing" for name in architectures if name not in code]
    faults += [f"{name}: not expected" for name in code if name not in architectures]
    if f"{ptx_target}.ptx" not in ptx:
        faults.append(f"PTX for {ptx_target}: missing")
    everywhere = {stem(kernel) for kernels in code.values() for kernel in kernels}
    for architecture, kernels in code.items():
        missing = everywhere - {stem(kernel) for kernel in kernels}
        faults += [f"{architecture}: {kernel} is missing" for kernel in sorted(missing)]
        for kernel, opcodes in kernels.items():
            for opcode in ("LDL", "STL"):
                if opcodes[opcode] > 0:
                    faults.append(f"{architecture}: {kernel}: {opcodes[opcode]} {opcode}")
            if not TENSOR_CORE_KERNEL.search(kernel):
                continue
            for opcode, purpose in REQUIRED.items():
                if opcodes[opcode] == 0:
                    faults.append(f"{architecture}: {kernel}: no {opcode} ({purpose})")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the machine code of CUDA kernels.")
    parser.add_argument("file", help="a shared library or an object file")
    parser.add_argument(
        "--arch",
        action="append",
        help=f"expected architecture (default: {' '.join(ARCHITECTURES)})",
    )
    parser.add_argument("--ptx", default=PTX, help=f"expected PTX (default: {PTX})")
    options = parser.parse_args()

    code = read_code(cuobjdump("-sass", options.file))
    architectures = tuple(options.arch) if options.arch else ARCHITECTURES
    faults = find_faults(code, cuobjdump("-lptx", options.file), architectures, options.ptx)
    for architecture, kernels in code.items():
        on_tensor_cores = sum(opcodes["HMMA"] > 0 for opcodes in kernels.values())
        print(f"{architecture}: {len(kernels)} kernels, {on_tensor_cores} on tensor cores")
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
