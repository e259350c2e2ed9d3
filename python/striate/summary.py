"""A network's layers, shapes and sizes, as the lecture prints them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from striate._core import Tensor, float32, zeros
from striate.grad_mode import no_grad
from striate.nn.containers import ModuleDict, ModuleList, Sequential
from striate.nn.linear import Flatten
from striate.nn.module import Module

_MEGABYTE = 1 << 20
_ITEM_SIZE = 4  # the table counts float32, whatever the model's type
_WITHOUT_ROW = (Sequential, ModuleList, ModuleDict, Flatten)


@dataclass(frozen=True)
class Row:
    """One call of one layer. ``output_shape`` has -1 for the batch size."""

    layer: str
    output_shape: tuple[int, ...]
    params: int


@dataclass(frozen=True)
class Summary:
    """The table: one row per call in call order, and its totals. ``str()`` prints it."""

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    trainable_params: int
    non_trainable_params: int

    @property
    def total_params(self) -> int:
        return self.trainable_params + self.non_trainable_params

    @property
    def input_mb(self) -> float:
        return math.prod(self.input_shape) * _ITEM_SIZE / _MEGABYTE

    @property
    def forward_backward_mb(self) -> float:
        """Every row's output, twice: once forward, once as a gradient."""
        outputs = sum(math.prod(row.output_shape[1:]) for row in self.rows)
        return 2 * outputs * _ITEM_SIZE / _MEGABYTE

    @property
    def params_mb(self) -> float:
        return self.total_params * _ITEM_SIZE / _MEGABYTE

    @property
    def total_mb(self) -> float:
        return self.input_mb + self.forward_backward_mb + self.params_mb

    def to_dict(self) -> dict[str, Any]:
        """The table as plain values, for JSON."""
        return {
            **asdict(self),
            "total_params": self.total_params,
            "input_mb": self.input_mb,
            "forward_backward_mb": self.forward_backward_mb,
            "params_mb": self.params_mb,
            "total_mb": self.total_mb,
        }

    def __str__(self) -> str:
        def line(layer: str, shape: str, params: str) -> str:
            return f"{layer:>20}  {shape:>25} {params:>15}"

        thin, thick = "-" * 64, "=" * 64
        table = [
            line(row.layer, str(list(row.output_shape)), f"{row.params:,}") for row in self.rows
        ]
        return "\n".join(
            [
                thin,
                line("Layer (type)", "Output Shape", "Param #"),
                thick,
                *table,
                thick,
                f"Total params: {self.total_params:,}",
                f"Trainable params: {self.trainable_params:,}",
                f"Non-trainable params: {self.non_trainable_params:,}",
                thin,
                f"Input size (MB): {self.input_mb:.2f}",
                f"Forward/backward pass size (MB): {self.forward_backward_mb:.2f}",
                f"Params size (MB): {self.params_mb:.2f}",
                f"Estimated Total Size (MB): {self.total_mb:.2f}",
                thin,
            ]
        )


def summary(model: Module, input_size: Sequence[int]) -> Summary:
    """Runs the model once on zeros of shape (1, *input_size), in evaluation mode, and tabulates
    every layer that is called. Containers, Flatten and the model itself have no row.
    """
    rows: list[Row] = []

    def record(module: Module, args: tuple[Any, ...], output: Any) -> None:
        parameters = module.parameters(recurse=False)
        rows.append(
            Row(
                layer=f"{type(module).__name__}-{len(rows) + 1}",
                output_shape=_batch_shape(output),
                params=sum(parameter.numel() for parameter in parameters),
            )
        )

    layers = [
        module
        for module in model.modules()
        if module is not model and not isinstance(module, _WITHOUT_ROW)
    ]
    parameters = list(model.parameters())
    dtype = parameters[0].dtype if parameters else float32
    device = parameters[0].device if parameters else "cpu"
    modes = [(module, module.training) for module in model.modules()]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        model.eval()
        with no_grad():
            model(zeros(1, *input_size, dtype=dtype, device=device))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return Summary(
        rows=tuple(rows),
        input_shape=tuple(input_size),
        trainable_params=sum(p.numel() for p in parameters if p.requires_grad),
        non_trainable_params=sum(p.numel() for p in parameters if not p.requires_grad),
    )


def _batch_shape(output: Any) -> tuple[int, ...]:
    """The shape of a layer's output, or of the first of several."""
    first: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return (-1, *first.shape[1:])
