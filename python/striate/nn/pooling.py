"""Pooling."""

from __future__ import annotations

from collections.abc import Callable

from striate._core import Tensor, adaptive_avg_pool2d, avg_pool2d, max_pool1d, max_pool2d
from striate.nn.activation import ReLU
from striate.nn.module import Module

Size2 = int | tuple[int, int]


class _MaxPool(Module):
    """Largest element of each window, in as many dimensions as ``_op`` has."""

    _op: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: Size2,
        stride: Size2 | None = None,
        padding: Size2 = 0,
        dilation: Size2 = 1,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """Of ``relu(input)`` on request."""
        return self._op(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, relu
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest element of each window of (N, C, L)."""

    _op = staticmethod(max_pool1d)


class MaxPool2d(_MaxPool):
    """Largest element of each window of (N, C, H, W)."""

    _op = staticmethod(max_pool2d)


def relu_max_pool(relu: Module, pool: Module, input: Tensor) -> Tensor:
    """``pool(relu(input))``, in one op where that makes no difference: hooks would see what lies
    between the two.
    """
    fuses = (
        type(pool).forward is _MaxPool.forward
        and type(relu).forward is ReLU.forward
        and not (pool._hooked or relu._hooked)
    )
    output: Tensor = pool(input, relu=True) if fuses else pool(relu(input))
    return output


class AvgPool2d(Module):
    """Mean of each window of (N, C, H, W)."""

    def __init__(
        self,
        kernel_size: Size2,
        stride: Size2 | None = None,
        padding: Size2 = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means of windows chosen so that the result is (N, C, *output_size)."""

    def __init__(self, output_size: Size2) -> None:
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
