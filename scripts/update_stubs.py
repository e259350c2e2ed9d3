"""Regenerates python/striate/_core.pyi from the docstrings of the installed module.

python scripts/update_stubs.py           writes the file
python scripts/update_stubs.py --check   fails, with the difference, if it is out of date
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

STUBS = Path(__file__).parents[1] / "python" / "striate" / "_core.pyi"


def generate() -> str:
    """The stubs of the striate._core that this Python imports, in ruff's format."""
    with tempfile.TemporaryDirectory() as folder:
        stubgen = [sys.executable, "-m", "pybind11_stubgen", "striate._core", "-o", folder]
        # striate itself is imported from where it is installed, not from this directory.
        subprocess.run([*stubgen, "--exit-code"], check=True, cwd=folder)
        stubs = Path(folder, "striate", "_core.pyi")
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
