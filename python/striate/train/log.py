"""The figures of each epoch, as CSV and as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def write_logs(history: Sequence[dict[str, float]], csv_path: Path, jsonl_path: Path) -> None:
    """All epochs so far, replacing what is there. Both are functions of the run, as checkpoints
    are: there are no times in them.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(csv_path, text.getvalue())
    rows = ({name: row[name] for name in COLUMNS} for row in history)
    write_text(jsonl_path, "".join(json.dumps(row) + "\n" for row in rows))


def write_text(path: Path, text: str) -> None:
    """Replaces the file in one step."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
