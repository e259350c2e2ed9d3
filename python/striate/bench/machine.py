"""What the machine can do at most: arithmetic in registers, memory, the sizes of its caches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import striate as st
from striate._core import measure_peak
from striate.bench.rows import Row

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def measure(seconds: float) -> Iterator[Row]:
    """With one thread, and with as many as are set."""
    most = st.get_num_threads()
    for threads in sorted({1, most}):
        st.set_num_threads(threads)
        for peak, unit in (("multiply_add", "GFLOP/s"), ("read", "GB/s"), ("triad", "GB/s")):
            rate = measure_peak(peak, seconds) / 1e9
            yield {
                "subject": "machine",
                "measure": peak,
                "isa": st.cpu_isa(),
                "threads": threads,
                "rate": round(rate, 1),
                "unit": unit,
            }
    st.set_num_threads(most)


def caches() -> dict[str, str]:
    """The first processor's data caches as the system names their sizes, as in {"L1": "32K"}."""
    sizes = {}
    for cache in sorted(_CACHES.glob("index*")):
        if (cache / "type").read_text().strip() != "Instruction":
            level = (cache / "level").read_text().strip()
            sizes[f"L{level}"] = (cache / "size").read_text().strip()
    return sizes
