"""The house's floor plan (docs/architecture.md), read from the #include lines."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in ("include", "src", "cuda", "python/bindings")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".h", ".cpp", ".cu", ".cuh"}
)
SERVICES = {"striate/error.h", "striate/types.h", "striate/options.h", "striate/runtime.h"}
TENSORS = {"striate/tensor.h", "striate/autograd.h", "striate/graph.h", "core/tensor_impl.h"}

# What the files of a folder may include, first match; a name that ends in "/" is a folder.
ALLOWED = {
    "include/striate/striate.h": {"striate/"},
    "include/striate/error.h": set(),
    "include/striate/options.h": set(),
    "include/striate/types.h": {"striate/error.h"},
    "include/striate/runtime.h": {"striate/error.h", "striate/types.h"},
    "include/striate/tensor.h": {"striate/error.h", "striate/types.h"},
    "include/striate/": SERVICES | {"striate/tensor.h"},
    "src/kernels.h": SERVICES,
    "src/launch.h": {"core/backend.h", "kernels.h"},
    "src/core/": SERVICES | TENSORS | {"core/"},
    "src/cpu/isa/": {"cpu/isa/", "core/philox.h"},
    "src/cpu/": SERVICES | {"core/backend.h", "core/philox.h", "kernels.h", "cpu/"},
    "cuda/": SERVICES | {"core/backend.h", "core/philox.h", "kernels.h", "cuda/"},
    "src/autograd/": {"striate/", "core/", "launch.h", "autograd/"},
    "src/io/": {"striate/", "core/", "io/"},
    "src/image/": {"striate/", "image/"},
    "src/optim/": {"striate/", "core/", "kernels.h", "launch.h", "ops/common.h", "optim/"},
    "src/ops/": {"striate/", "core/", "kernels.h", "launch.h", "ops/"},
    "python/bindings/": {"striate/", "python/bindings/"},
}


def text(path: Path) -> str:
    return (ROOT / path).read_text()


def resolve(includer: Path, name: str) -> Path:
    """The file that a quoted include means."""
    for folder in (includer.parent, Path("include"), Path("src"), Path("cuda")):
        candidate = (ROOT / folder / name).resolve()
        if candidate.is_file():
            return candidate.relative_to(ROOT)
    raise AssertionError(f'{includer}: #include "{name}" names no file of this project')


def spelled(path: Path) -> str:
    """A file's name as an include from another folder spells it."""
    for root in ("include", "src"):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


@cache
def includes(path: Path) -> tuple[Path, ...]:
    names = re.findall(r'^#include\s+"([^"]+)"', text(path), re.MULTILINE)
    return tuple(resolve(path, name) for name in names)


def reachable(path: Path) -> set[Path]:
    found: set[Path] = set()
    pending = [path]
    while pending:
        for included in includes(pending.pop()):
            if included not in found:
                found.add(included)
                pending.append(included)
    return found


def matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern) if pattern.endswith("/") else name == pattern


def allowed_for(path: Path) -> set[str]:
    for pattern, allowed in ALLOWED.items():
        if matches(path.as_posix(), pattern):
            return allowed
    raise AssertionError(f"{path} lies in no layer; add its folder to ALLOWED")


def test_there_is_something_to_read():
    assert len(SOURCES) > 60


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_includes_stay_within_their_layer(path):
    allowed = allowed_for(path)
    strays = [
        spelled(included)
        for included in includes(path)
        if included.parent != path.parent or path.is_relative_to("include")
        if not any(matches(spelled(included), pattern) for pattern in allowed)
    ]
    assert not strays, f"{path} includes {strays}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.is_relative_to("src/cpu") or p.parts[0] == "cuda"], ids=str
)
def test_backends_see_no_tensor_even_indirectly(path):
    seen = TENSORS & {spelled(included) for included in reachable(path)}
    assert not seen


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[0] == "include"], ids=str)
def test_public_headers_are_plain_cpp(path):
    system = re.findall(r"^#include\s+<([^>]+)>", text(path), re.MULTILINE)
    assert all(re.fullmatch(r"[a-z_]+", name) for name in system), "not a standard header"
    assert not re.search(r"^\s*#\s*(if|define)", text(path), re.MULTILINE)


@pytest.mark.parametrize("path", [p for p in SOURCES if "isa" in p.parts], ids=str)
def test_instruction_set_sources_include_no_standard_library(path):
    """An inline function compiled there with AVX could become everybody's copy of it. Those of
    immintrin.h are always inlined, so that there is no copy.
    """
    system = set(re.findall(r"^#include\s+<([^>]+)>", text(path), re.MULTILINE))
    assert system <= {"cstdint", "immintrin.h"}


def test_one_conditional_in_the_project():
    conditionals = [
        f"{path}: {line}"
        for path in SOURCES
        for line in re.findall(r"^\s*#\s*if.*$", text(path), re.MULTILINE)
    ]
    assert conditionals == ["src/core/backend.cpp: #ifdef STRIATE_WITH_CUDA"]


@pytest.mark.parametrize("path", [p for p in SOURCES if p.suffix in {".cu", ".cuh"}], ids=str)
def test_kernel_sources_can_run_on_a_host_harness(path):
    """Kernels start through launch() and get dynamic shared memory from it alone; PTX is confined
    to ptx.cuh.
    """
    banned = r"<<<|static\s+__shared__|__CUDA_ARCH__"
    if path.name != "launch.cuh":
        banned += r"|extern\s+__shared__"
    if path.name != "ptx.cuh":
        banned += r"|\basm\b"
    assert not re.findall(banned, text(path))


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_hold_one_idea(path):
    limit = 600 if path.suffix == ".cu" or path.name == "kernels.h" else 400
    assert len(text(path).splitlines()) <= limit
