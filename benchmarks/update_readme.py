"""Writes the README's benchmark table from a committed results file.

    python benchmarks/update_readme.py benchmarks/results/NAME.json [--check]

With --check it changes nothing and fails if the README shows anything else.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- benchmark -->\n", "<!-- /benchmark -->"


def table(result: dict, source: str) -> str:
    machine = result["machine"]
    lines = [
        f"{machine['cpu']}, {machine['isa']}, {machine['threads']} threads, commit "
        f"{result['commit']}; images per second, [all figures]({source}).",
        "",
        "| network | mode | batch | Striate | best peer | ratio |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for run in result["runs"]:
        rows = {row["name"]: row for row in run["results"]}
        peer = rows[run["best_peer"]]
        lines.append(
            f"| {run['model']} | {run['mode']} | {run['batch']} "
            f"| {rows['striate']['images_per_second']:,.0f} "
            f"| {peer['images_per_second']:,.0f} ({peer['name']} {peer['version']}) "
            f"| {run['ratio']:.2f} |"
        )
    return "\n".join([*lines, "", f"Command: `{result['command']}`", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text = README.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    source = args.results.resolve().relative_to(README.parent).as_posix()
    updated = head + BEGIN + table(json.loads(args.results.read_text()), source) + END + tail
    if args.check and updated != text:
        raise SystemExit(f"README.md does not show {source}; run benchmarks/update_readme.py")
    README.write_text(updated)


if __name__ == "__main__":
    main()
