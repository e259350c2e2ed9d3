"""Convolutions."""

from __future__ import annotations

from typing import Any

from striate._core import (
    ArgumentError,
    ShapeError,
    Tensor,
    conv1d,
    conv2d,
    conv_transpose2d,
    empty,
    pad,
)
from striate.nn import init
from striate.nn.module import Module
from striate.nn.parameter import Parameter

Size2 = int | tuple[int, int]


def pair(size: Size2) -> tuple[int, int]:
    """(height, width) from one number or two."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class _Conv(Module):
    """What the convolutions share: their sizes, weight (out, in / groups, *kernel) and bias."""

    transposed = False
    output_padding: Any = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
    ) -> None:
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"{name}: expected groups that divide in_channels {in_channels} and out_channels "
                f"{out_channels}, got {groups}"
            )
        if min(in_channels, out_channels, *kernel_size) < 1:
            raise ShapeError(
                f"{name}: expected channels and a kernel of at least 1, got in_channels "
                f"{in_channels}, out_channels {out_channels}, kernel_size {kernel_size}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        outer, inner = out_channels, in_channels // groups
        if self.transposed:
            outer, inner = in_channels, out_channels // groups
        # 2-D weights lie in memory as the kernels read them: O, kh, kw, I.
        weight = empty(outer, inner, *kernel_size).contiguous(len(kernel_size) == 2)
        self.weight = Parameter(weight)
        self.bias = Parameter(empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.default_(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        for name, default in (("padding", 0), ("output_padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            if value not in (default, (default, default)):
                parts.append(f"{name}={value!r}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv1d(_Conv):
    """Cross-correlation over (N, C, L)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, (kernel_size,), stride, padding, dilation, groups, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        return conv1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


class Conv2d(_Conv):
    """Cross-correlation over (N, C, H, W).

    ``padding`` is a size, ``'valid'`` (none) or ``'same'`` (stride 1 only; where the total is odd,
    the extra zero goes after).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: Size2 | str = 0,
        dilation: Size2 = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            pair(kernel_size),
            pair(stride),
            padding if isinstance(padding, str) else pair(padding),
            pair(dilation),
            groups,
            bias,
        )
        self._symmetric_padding, self._extra_padding = self._split_padding()

    def _split_padding(self) -> tuple[tuple[int, int], tuple[int, ...] | None]:
        """The padding that conv2d takes, and one for pad() where the sides differ."""
        if isinstance(self.padding, tuple):
            return self.padding, None
        if self.padding == "valid":
            return (0, 0), None
        if self.padding != "same" or self.stride != (1, 1):
            raise ArgumentError(
                "Conv2d: expected padding as a size, 'valid', or 'same' with stride 1, got "
                f"{self.padding!r} with stride {self.stride}"
            )
        height, width = (
            dilation * (kernel - 1)
            for dilation, kernel in zip(self.dilation, self.kernel_size, strict=True)
        )
        extra = (0, width % 2, 0, height % 2)
        return (height // 2, width // 2), extra if any(extra) else None

    def with_outputs(self, count: int) -> Conv2d:
        """A new layer that differs in ``out_channels`` only."""
        height, width = self.kernel_size
        return Conv2d(
            self.in_channels,
            count,
            (height, width),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            bias=self.bias is not None,
        )

    def forward(self, input: Tensor) -> Tensor:
        if self._extra_padding is not None:
            input = pad(input, self._extra_padding)
        return conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self._symmetric_padding,
            self.dilation,
            self.groups,
        )


class ConvTranspose2d(_Conv):
    """The adjoint of Conv2d, over (N, C, H, W); weight (in, out / groups, kh, kw)."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2,
        stride: Size2 = 1,
        padding: Size2 = 0,
        output_padding: Size2 = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size2 = 1,
    ) -> None:
        self.output_padding = pair(output_padding)
        super().__init__(
            in_channels,
            out_channels,
            pair(kernel_size),
            pair(stride),
            pair(padding),
            pair(dilation),
            groups,
            bias,
        )

    def forward(self, input: Tensor) -> Tensor:
        return conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )
