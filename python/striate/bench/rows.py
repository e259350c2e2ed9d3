"""One row format for every subject."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
"""Flat: `subject`, the keys that name the case, `framework`, `variant`, `version`, `milliseconds`
(a median), `rounds` (what it is the median of) and the subject's own figures. A peer's row has
`striate_milliseconds` of the same minute and `ratio`, its time over Striate's; Striate's row has
the least `ratio` and that `best_peer`.
"""


_CASE = ("model", "mode", "dtype", "batch", "threads")


def compare(rows: list[Row]) -> None:
    """Gives each of Striate's rows of networks the best of the peers that met it."""
    for own in rows:
        peers = [
            row
            for row in rows
            if "striate_milliseconds" in row and all(row[key] == own[key] for key in _CASE)
        ]
        if own["framework"] == "striate" and peers:
            best = min(peers, key=lambda row: float(row["ratio"]))
            own |= {"best_peer": name(best), "ratio": best["ratio"]}


def name(row: Row) -> str:
    return f"{row['framework']} {row['variant']}".strip()
