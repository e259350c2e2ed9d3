"""Regenerates python/striate/_core.pyi from the docstrings of the installed module.

python scripts/update_stubs.py           writes the file
python scripts/update_stubs.py --check   fails, with the difference, if it is out of date
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUBS = Path(__file__).parents[1] / "python" / "striate" / "_core.pyi"


def correct(stubs: str) -> str:
    """What mypy needs beyond pybind11-stubgen's output."""
    # Exceptions call themselves striate.X, so stubgen imports them; they are defined here.
    core = importlib.import_module("striate._core")
    names = re.findall(r"^from striate import (\w+)\n", stubs, re.MULTILINE)
    stubs = re.sub(r"^from striate import \w+\n", "", stubs, flags=re.MULTILINE)
    depth = {name: len(getattr(core, name).__mro__) for name in names}
    classes = []
    for name in sorted(names, key=lambda name: (depth[name], name)):
        error = getattr(core, name)
        bases = ", ".join(
            base.__name__ if base.__module__ == "striate" else f"builtins.{base.__name__}"
            for base in error.__bases__
        )
        classes.append(f'class {name}({bases}):\n    """{error.__doc__}"""\n')
    stubs = stubs.replace("\nclass DType:", "\n" + "\n".join(classes) + "\nclass DType:", 1)

    # striate.bool and Tensor.float hide the built-in types; `self` needs no type.
    lines = stubs.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.lstrip().startswith("def "):
            line = re.sub(r"\(self: [^,)]*", "(self", line)
            line = re.sub(r"(?<!def )(?<![\w.])(bool|float)\b(?!\()", r"builtins.\1", line)
            if re.search(r"def __(eq|ne)__.*-> Tensor", line):
                line = line.rstrip("\n") + "  # type: ignore[override]\n"
            lines[number] = line
    return "".join(lines).replace(
        "import collections.abc\n", "import builtins\nimport collections.abc\n"
    )


def generate() -> str:
    """The stubs of the striate._core that this Python imports, in ruff's format."""
    with tempfile.TemporaryDirectory() as folder:
        stubgen = [sys.executable, "-m", "pybind11_stubgen", "striate._core", "-o", folder]
        # striate itself is imported from where it is installed, not from this directory.
        subprocess.run([*stubgen, "--exit-code"], check=True, cwd=folder)
        stubs = Path(folder, "striate", "_core.pyi")
        stubs.write_text(correct(stubs.read_text()))
        config = STUBS.parents[2] / "pyproject.toml"
        ruff = [sys.executable, "-m", "ruff", "format", "--quiet", "--config", str(config)]
        subprocess.run([*ruff, str(stubs)], check=True)
        return stubs.read_text()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    generated = generate()
    if not check:
        STUBS.write_text(generated)
        return 0
    committed = STUBS.read_text() if STUBS.exists() else ""
    difference = difflib.unified_diff(
        committed.splitlines(keepends=True),
        generated.splitlines(keepends=True),
        "committed",
        "generated",
    )
    sys.stdout.writelines(difference)
    return int(committed != generated)


if __name__ == "__main__":
    sys.exit(main())
