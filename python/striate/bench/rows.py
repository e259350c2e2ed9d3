"""One row format for every subject."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
"""Flat: `subject`, the keys that name the case, `framework`, `variant`, `version`, `milliseconds`
(a median), `rounds` (what it is the median of) and the subject's own figures. A peer's row has
`striate_milliseconds` of the same minute and `ratio`, its time over Striate's; Striate's row has
the least `ratio` and that `best_peer`.
"""


def name(row: Row) -> str:
    return f"{row['framework']} {row['variant']}".strip()
