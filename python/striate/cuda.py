"""CUDA devices. Everything here answers, rather than fails, on a machine without one."""

from __future__ import annotations

from striate import _core
from striate._core import Event
from striate.graphs import graph

__all__ = [
    "Event",
    "device_count",
    "device_name",
    "empty_cache",
    "graph",
    "is_available",
    "is_built",
    "memory_stats",
    "synchronize",
    "unavailable_reason",
]


def is_built() -> bool:
    """True if this build has a CUDA backend."""
    backends = next(line for line in _core.build_info().splitlines() if line.startswith("backends"))
    return "cuda" in backends


def is_available() -> bool:
    """True if there is a CUDA device that Striate can use now."""
    return device_count() > 0


def device_count() -> int:
    """Number of CUDA devices that can be used now."""
    return _core.cuda_device_count()


def unavailable_reason() -> str:
    """Why there is none; empty when there is one."""
    return _core.cuda_unavailable_reason()


def device_name(index: int = 0) -> str:
    """Name, compute capability, memory and driver of a device."""
    return _core.device_description(f"cuda:{index}")


def synchronize(index: int = 0) -> None:
    """Waits until all work queued on the device is done."""
    _core.synchronize(f"cuda:{index}")


def empty_cache(index: int = 0) -> None:
    """Returns the memory that the device's allocator caches to the driver."""
    _core.empty_cache(f"cuda:{index}")


def memory_stats(index: int = 0) -> dict[str, int]:
    """``allocated_bytes``, ``reserved_bytes`` and ``peak_bytes`` of the device."""
    return _core.memory_stats(f"cuda:{index}")
