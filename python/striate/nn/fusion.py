"""Layers that `Module.fuse` puts in the place of several, for inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from striate._core import Tensor, conv2d_fused, pad, zeros_like
from striate.grad_mode import no_grad
from striate.nn.conv import Conv2d
from striate.nn.linear import Identity
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm2d
from striate.nn.parameter import Parameter


class FusedConv2d(Module):
    """A convolution with the batch norm after it folded into its weight and bias, then a residual
    and ReLU, in one pass over memory.

    In evaluation mode batch norm is y = x s + (beta - mean s) with s = gamma / sqrt(var + eps) for
    each channel; s goes into the filters, in float64.
    """

    def __init__(self, conv: Conv2d, norm: BatchNorm2d | None = None, relu: bool = False) -> None:
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups
        self.padding, self.extra_padding = conv._symmetric_padding, conv._extra_padding
        self.relu = relu
        with no_grad():
            weight = conv.weight.detach()
            bias: Tensor | None = conv.bias
            if norm is not None:
                weight, bias = _fold(weight, bias, norm)
        self.weight = Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else Parameter(bias.detach(), requires_grad=False)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.extra_padding is not None:
            input = pad(input, self.extra_padding)
        return conv2d_fused(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            residual,
            self.relu,
        )

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, stride={self.stride}, relu={self.relu}"


class FusedBlock(Module):
    """Convolutions beside a shortcut, which the last of them adds."""

    def __init__(self, branch: Sequence[FusedConv2d], shortcut: Module) -> None:
        for index, conv in enumerate(branch):
            self.add_module(f"conv{index + 1}", conv)
        self.shortcut = shortcut

    def forward(self, input: Tensor) -> Tensor:
        *convs, last, shortcut = self.children()
        x = input
        for conv in convs:
            x = conv(x)
        output: Tensor = last(x, shortcut(input))
        return output


def fuse_stem(network: Module, fused: Module) -> Module:
    """Fuses conv1, bn1 and relu, which a network calls one after another; ``fused`` is its copy."""
    stem: Any = network
    for name, layer in (
        ("conv1", FusedConv2d(stem.conv1, stem.bn1, relu=True)),
        ("bn1", Identity()),
        ("relu", Identity()),
    ):
        setattr(fused, name, layer)
    return fused


def _fold(weight: Tensor, bias: Tensor | None, norm: BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = (var.to("float64") + norm.eps) ** -0.5
    shift = zeros_like(scale)
    if norm.weight is not None and norm.bias is not None:
        scale = scale * norm.weight.to("float64")
        shift = norm.bias.to("float64")
    start = 0.0 if bias is None else bias.to("float64")
    folded = weight.to("float64") * scale.reshape(-1, 1, 1, 1)
    offset = (start - mean.to("float64")) * scale + shift
    return folded.to(weight.dtype).contiguous(True), offset.to(var.dtype)
