"""Each distinct convolution of some networks: forward, input gradient and weight gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import striate as st
import striate.nn.functional as F
from striate import models, nn
from striate._core import conv2d_algorithms, measure_peak
from striate.bench.rows import Row
from striate.bench.timing import backward, channels_last, median_milliseconds, whole
from striate.models.registry import input_size

PASSES = ("forward", "input_grad", "weight_grad")


@dataclass(frozen=True)
class Conv:
    """One image's convolution."""

    c: int
    h: int
    w: int
    o: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int

    def __str__(self) -> str:
        size = f"{self.c}->{self.o} {self.kernel[0]}x{self.kernel[1]}"
        stride = "" if self.stride == (1, 1) else f" s{self.stride[0]}"
        groups = "" if self.groups == 1 else f" g{self.groups}"
        return f"{size}{stride}{groups} @ {self.h}x{self.w}"


def convolutions(names: list[str]) -> list[Conv]:
    """In the order in which the models call them, without repetition."""
    found: dict[Conv, None] = {}

    def note(layer: Any, arguments: Any, output: Any) -> None:
        _, c, h, w = arguments[0].shape
        padding = layer._symmetric_padding
        sizes = (layer.kernel_size, layer.stride, padding)
        found[Conv(c, h, w, layer.out_channels, *sizes, layer.groups)] = None

    for name in names:
        model = models.get_model(name).eval()
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_hook(note)
        with st.no_grad():
            model(st.zeros(1, *input_size(name)))
    return list(found)


def measure(names: list[str], batch: int, seconds: float) -> Iterator[Row]:
    """Three rows a convolution; `seconds` is the time for one of them."""
    peak = measure_peak("multiply_add", max(seconds, 0.1)) / 1e9
    for conv in convolutions(names):
        yield from _measure(conv, batch, seconds, peak)


def _measure(conv: Conv, batch: int, seconds: float, peak: float) -> Iterator[Row]:
    x = channels_last(batch, conv.c, conv.h, conv.w)
    weight = channels_last(conv.o, conv.c // conv.groups, *conv.kernel)
    sizes: dict[str, Any] = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
    algorithms = conv2d_algorithms(x, weight, **sizes)

    def forward() -> st.Tensor:
        return F.conv2d(x, weight, None, **sizes)

    for name in PASSES:
        x.requires_grad = name == "input_grad"
        weight.requires_grad = name == "weight_grad"
        timed = whole(forward) if name == "forward" else backward(forward, [x, weight])
        milliseconds = median_milliseconds(timed, seconds)
        algorithm = algorithms[name]
        output = forward().shape[2:]
        direct, executed = operations(conv, batch, output, algorithm)
        yield {
            "subject": "convs",
            "convolution": str(conv),
            "batch": batch,
            "pass": name,
            "winograd": st.config.winograd,
            "isa": st.cpu_isa(),
            "threads": st.get_num_threads(),
            "framework": "striate",
            "variant": "",
            "version": st.__version__,
            "algorithm": algorithm,
            "milliseconds": round(milliseconds, 5),
            "gflops": round(direct / milliseconds / 1e6, 1),
            "gflops_executed": round(executed / milliseconds / 1e6, 1),
            "peak_gflops": round(peak, 1),
            "fraction_of_peak": round(executed / milliseconds / 1e6 / peak, 3),
        }


def operations(
    conv: Conv, batch: int, output: tuple[int, ...], algorithm: str
) -> tuple[float, float]:
    """Floating point operations of direct convolution, and of the algorithm's multiplications.

    F(m x m, r x r) multiplies (h + r - 1)(w + r - 1) values per tile of h x w results, which are
    m x m but at the edges; its transforms, additions for the most part, are not counted.
    """
    taps = conv.kernel[0] * conv.kernel[1]
    per_position = 2.0 * batch * conv.o * conv.c / conv.groups
    direct = per_position * taps * output[0] * output[1]
    if not algorithm.startswith("winograd"):
        return direct, direct
    m = int(algorithm.removeprefix("winograd"))
    rows, columns = (size + -(-size // m) * (conv.kernel[0] - 1) for size in output)
    return direct, per_position * rows * columns
