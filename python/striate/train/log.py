"""The figures of each epoch, as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path


def write_logs(history: Sequence[dict[str, float]], csv_path: Path, jsonl_path: Path) -> None:
    """All epochs so far, replacing what is there. Both are functions of the run, as checkpoints
    are: there are no times in them.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(csv_path, text.getvalue())
    write_text(jsonl_path, "".join(json.dumps(row) + "\n" for row in history))


def write_text(path: Path, text: str) -> None:
    """Replaces the file in one step."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
