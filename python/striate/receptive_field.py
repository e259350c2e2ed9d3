"""What part of the input a unit sees: by arithmetic over the layers, and by measuring gradients.

Luo, Li, Urtasun, Zemel, "Understanding the effective receptive field in deep convolutional neural
networks", NIPS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from striate._config import config
from striate._core import ArgumentError, Tensor, tensor
from striate.grad_mode import enable_grad
from striate.nn.conv import ConvTranspose2d, pair
from striate.nn.linear import Linear
from striate.nn.module import Module
from striate.nn.pooling import AdaptiveAvgPool2d

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """Unit (i, j) of a layer sees, in each direction, the ``size`` input pixels that begin at
    ``offset + stride * i``; a negative offset is padding.
    """

    size: Pair
    stride: Pair
    offset: Pair

    def windowed(
        self, kernel: Pair, stride: Pair = (1, 1), padding: Pair = (0, 0)
    ) -> ReceptiveField:
        """The field of a layer whose units each see a window of units with this field."""
        return ReceptiveField(
            size=_each(lambda r, k, j: r + (k - 1) * j, self.size, kernel, self.stride),
            stride=_each(lambda j, s: j * s, self.stride, stride),
            offset=_each(lambda o, p, j: o - p * j, self.offset, padding, self.stride),
        )


def _each(function: Callable[..., int], *pairs: Pair) -> Pair:
    height, width = (function(*values) for values in zip(*pairs, strict=True))
    return height, width


class FieldTracker:
    """Follows receptive fields through a network, told of every module's call in order.

    Tensors are recognised by identity. One that no module made (a sum, a concatenation, the
    result of a function) is taken to have the widest field among the outputs so far of its height
    and width, which is that of the longest path into it.
    """

    def __init__(self, input: Tensor) -> None:
        pixel = ReceptiveField(size=(1, 1), stride=(1, 1), offset=(0, 0))
        # (tensor, its field if known, the map's height and width). A tensor with features and no
        # map keeps those of the map that it was made from.
        self._known: dict[int, tuple[Tensor, ReceptiveField | None, Pair]] = {}
        if input.ndim == 4:
            self._known[id(input)] = (input, pixel, _map(input))

    def called(self, module: Module, input: Any, output: Any) -> ReceptiveField | None:
        """Records a call; returns the output's field, or None where it has no constant one."""
        if not isinstance(input, Tensor) or not isinstance(output, Tensor):
            return None
        if id(output) not in self._known:
            if next(module.children(), None) is not None:
                field, size = self._find(output)
            else:
                field, size = self._leaf(module, input, output)
            self._known[id(output)] = (output, field, size)
        return self._known[id(output)][1]

    def _find(self, tensor: Tensor) -> tuple[ReceptiveField | None, Pair]:
        if id(tensor) in self._known:
            return self._known[id(tensor)][1:]
        candidates = [
            (field, size)
            for _, field, size in reversed(self._known.values())
            if tensor.ndim != 4 or size == _map(tensor)
        ]
        field, size = max(candidates, key=lambda known: _width(known[0]), default=(None, (1, 1)))
        return field, _map(tensor) if tensor.ndim == 4 else size

    def _leaf(
        self, module: Module, input: Tensor, output: Tensor
    ) -> tuple[ReceptiveField | None, Pair]:
        field, size = self._find(input)
        if field is None or isinstance(module, ConvTranspose2d):
            return None, _map(output) if output.ndim == 4 else (1, 1)
        if isinstance(module, Linear) and input.ndim == 2:
            return field.windowed(size), (1, 1)  # the features are those of the whole map
        if isinstance(module, AdaptiveAvgPool2d):
            kernel = _each(lambda n, m: n // m if n % m == 0 else 0, size, _map(output))
            return field.windowed(kernel, kernel) if all(kernel) else None, _map(output)
        if hasattr(module, "kernel_size") and output.ndim == 4:
            kernel, stride = pair(module.kernel_size), pair(getattr(module, "stride", 1))
            dilation = pair(getattr(module, "dilation", 1))
            padding = getattr(module, "_symmetric_padding", getattr(module, "padding", 0))
            extent = _each(lambda k, d: (k - 1) * d + 1, kernel, dilation)
            return field.windowed(extent, stride, pair(padding)), _map(output)
        kept = math.prod(input.shape[1:]) == math.prod(output.shape[1:])
        return (field, size) if kept else (None, size)


def _map(tensor: Tensor) -> Pair:
    return tensor.shape[2], tensor.shape[3]


def _width(field: ReceptiveField | None) -> float:
    """An unknown field is wider than all."""
    return math.inf if field is None else max(field.size)


class EffectiveField(NamedTuple):
    """The gradient of a layer's centre unit at each pixel of the input, (H, W), summed over
    channels in absolute value, with maximum 1; and the side of a square that has the area where it
    is above 0.0455 (two standard deviations of a Gaussian leave that much outside).
    """

    gradient: Tensor
    size: float


def effective_receptive_field(
    model: Module,
    input_size: Sequence[int],
    layer: str | None = None,
    samples: int = 4,
    seed: int = 0,
) -> EffectiveField:
    """Measures how far the centre unit of a layer really looks, on normal random images.

    ``layer`` is a module's dotted name; without one it is the last whose output is a map. The model
    runs in evaluation mode and is left as it was. Convolution is direct meanwhile: Winograd's
    rounding would put tiny gradients on pixels that the unit does not see.
    """
    if len(input_size) != 3:
        raise ArgumentError(
            f"effective_receptive_field: expected input_size as (C, H, W), got {tuple(input_size)}"
        )
    if samples < 1:
        raise ArgumentError(
            f"effective_receptive_field: expected samples of at least 1, got {samples}"
        )
    modules = dict(model.named_modules())
    if layer is not None and layer not in modules:
        raise ArgumentError(f"effective_receptive_field: expected a layer's name, got {layer!r}")
    outputs: list[Tensor] = []

    def capture(module: Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            outputs.append(output)

    noise = np.random.default_rng(seed).standard_normal((samples, *input_size), np.float32)
    parameters = list(model.parameters())
    trainable = [parameter.requires_grad for parameter in parameters]
    modes = [(module, module.training) for module in modules.values()]
    watched = [modules[layer]] if layer is not None else list(modules.values())
    handles = [module.register_forward_hook(capture) for module in watched]
    winograd = config.winograd
    try:
        config.winograd = False
        model.eval().requires_grad_(False)  # no gradient but the input's is computed
        image = tensor(noise)
        if parameters:
            image = image.to(parameters[0].dtype).to(str(parameters[0].device))
        image.requires_grad_()
        with enable_grad():
            model(image)
            if not outputs:
                raise ArgumentError(
                    f"effective_receptive_field: expected a layer whose output is a map, got "
                    f"{layer!r}"
                )
            height, width = _map(outputs[-1])
            outputs[-1][:, :, height // 2, width // 2].sum().backward()
    finally:
        config.winograd = winograd
        for handle in handles:
            handle.remove()
        for parameter, flag in zip(parameters, trainable, strict=True):
            parameter.requires_grad_(flag)
        for module, training in modes:
            module.training = training
    assert image.grad is not None
    sensitivity = np.abs(image.grad.detach().to("cpu").float().numpy()).sum((0, 1))
    sensitivity /= sensitivity.max() or 1.0
    return EffectiveField(tensor(sensitivity), float(np.sqrt((sensitivity > 0.0455).sum())))
