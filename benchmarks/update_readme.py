"""Writes the tables of README.md and docs/performance.md, and its picture, from the results files.

    python benchmarks/update_readme.py [--check]

A page's text between `<!-- benchmark NAME -->` and `<!-- /benchmark -->` is NAME's table. With
--check nothing is written, and it fails if a page shows anything else. The picture takes
matplotlib.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("README.md", "docs/performance.md")
PICTURE = ROOT / "docs" / "images" / "scaling.svg"
SECTIONS = {
    "ratios": ("nets", tables.ratios),
    "networks": ("nets", tables.networks),
    "memory": ("nets", tables.memory),
    "bfloat16": ("bfloat16", tables.networks),
    "machine": ("machine", tables.machine),
    "convolutions-summary": ("convs", tables.convolutions_summary),
    "convolutions": ("convs", tables.convolutions),
    "operations": ("ops", tables.operations),
}
_SECTION = re.compile(r"(<!-- benchmark (\S+) -->\n).*?(<!-- /benchmark -->)", re.DOTALL)


def section(name: str) -> str:
    subject, to_table = SECTIONS[name]
    path = RESULTS / f"{subject}.json"
    if not path.exists():
        return "Not measured.\n"
    result = json.loads(path.read_text())
    return f"{tables.source(result)}\n{to_table(result)}"


def updated(text: str) -> str:
    return _SECTION.sub(lambda match: match[1] + section(match[2]) + match[3], text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for page in PAGES:
        path = ROOT / page
        text = path.read_text()
        if args.check and updated(text) != text:
            raise SystemExit(f"{page} does not show the results; run benchmarks/update_readme.py")
        path.write_text(updated(text))
    scaling = RESULTS / "scaling.json"
    if scaling.exists() and not args.check:
        import plots

        plots.scaling(json.loads(scaling.read_text()), PICTURE)


if __name__ == "__main__":
    main()
