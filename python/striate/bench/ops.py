"""What is bound by memory: each operation's bytes per second beside those that the memory allows.

Counted are the bytes that must be moved if nothing stays in a cache from one pass over the data to
the next: batch normalisation reads its input twice, because the statistics come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import striate as st
import striate.nn.functional as F
from striate import nn, optim
from striate._core import measure_peak
from striate.bench.rows import Row
from striate.bench.timing import backward, channels_last, median_milliseconds, whole

_SHAPE = (64, 112, 112)  # of an image: the largest activation of a ResNet
_CLASSES = 1000
_ROWS_PER_IMAGE = 256
_PARAMETERS = 1_600_000  # per image of the batch: 25.6 million at 16, as ResNet-50 has


def measure(batch: int, seconds: float) -> Iterator[Row]:
    """A row per operation and pass; `seconds` is the time for one of them."""
    bandwidth = measure_peak("triad", max(seconds, 0.1)) / 1e9
    for name, bytes_moved, timed in _operations(batch):
        milliseconds = median_milliseconds(timed, seconds)
        rate = bytes_moved / milliseconds / 1e6
        yield {
            "subject": "ops",
            "operation": name,
            "batch": batch,
            "isa": st.cpu_isa(),
            "threads": st.get_num_threads(),
            "framework": "striate",
            "variant": "",
            "version": st.__version__,
            "milliseconds": round(milliseconds, 5),
            "gb_per_second": round(rate, 2),
            "triad_gb_per_second": round(bandwidth, 2),
            "fraction_of_triad": round(rate / bandwidth, 3),
        }


def _operations(batch: int) -> Iterator[tuple[str, int, Callable[[], float]]]:
    """Name, bytes and what is timed; one after the other, so that few tensors live at once."""
    x = channels_last(batch, *_SHAPE)
    size = 4 * x.numel()
    other = channels_last(batch, *_SHAPE)
    norm = nn.BatchNorm2d(_SHAPE[0])
    layers: list[tuple[str, Callable[[st.Tensor], st.Tensor], int, int]] = [
        ("relu", F.relu, 2 * size, 3 * size),
        ("max_pool2d 3x3 s2", lambda x: F.max_pool2d(x, 3, 2, 1), size * 5 // 4, size * 5 // 4),
        ("avg_pool2d 2x2", lambda x: F.avg_pool2d(x, 2), size * 5 // 4, size * 5 // 4),
        ("adaptive_avg_pool2d", lambda x: F.adaptive_avg_pool2d(x, 1), size, size),
        ("batch_norm", norm, 3 * size, 5 * size),
    ]
    yield "add", 3 * size, whole(lambda: x + other)
    for name, layer, forward_bytes, backward_bytes in layers:
        x.requires_grad = False
        yield name, forward_bytes, whole(lambda layer=layer: layer(x))  # type: ignore[misc]
        x.requires_grad = True
        forward = lambda layer=layer: layer(x)  # noqa: E731
        yield f"{name} backward", backward_bytes, backward(forward, [x])
    scores = st.rand(batch * _ROWS_PER_IMAGE, _CLASSES)
    labels = st.zeros(batch * _ROWS_PER_IMAGE, dtype=st.int64)
    size = 4 * scores.numel()
    yield "log_softmax", 2 * size, whole(lambda: F.log_softmax(scores, 1))
    scores.requires_grad = True
    loss = lambda: F.cross_entropy(scores, labels)  # noqa: E731
    yield "cross_entropy backward", 2 * size, backward(loss, [scores])
    parameter = st.rand(batch * _PARAMETERS, requires_grad=True)
    parameter.grad = st.rand(batch * _PARAMETERS)
    size = 4 * parameter.numel()
    yield "SGD with momentum", 5 * size, whole(optim.SGD([parameter], 1e-3, momentum=0.9).step)
    yield "Adam", 7 * size, whole(optim.Adam([parameter], 1e-3).step)
