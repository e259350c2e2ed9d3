"""A network's layers, shapes and sizes, as the lecture prints them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from striate._core import ArgumentError, Error, Tensor, float32, zeros
from striate.grad_mode import no_grad
from striate.nn.activation import ReLU
from striate.nn.containers import ModuleDict, ModuleList, Sequential
from striate.nn.conv import ConvTranspose2d, pair
from striate.nn.dropout import Dropout
from striate.nn.linear import Flatten, Linear
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm1d, BatchNorm2d
from striate.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from striate.receptive_field import FieldTracker, ReceptiveField

_MEGABYTE = 1 << 20
_ITEM_SIZE = 4  # the table counts float32, whatever the model's type
_WITHOUT_ROW = (Sequential, ModuleList, ModuleDict, Flatten)


@dataclass(frozen=True)
class Row:
    """One call of one layer, for one image. ``output_shape`` has -1 for the batch size.

    ``flops`` are two per multiply-accumulate, two per element of a batch normalisation in
    evaluation, one per element of a window of pooling and one per element of ReLU; other layers,
    and operations that are not layers, count none. ``activation_bytes`` are 0 if the output is one
    that an earlier row made, or passes through. ``receptive_field`` is None where there is no
    constant one.
    """

    layer: str
    name: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    flops: int
    activation_bytes: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Summary:
    """The table: one row per call in call order, and its totals. ``str()`` prints it, with the
    optional columns that ``columns`` names.
    """

    rows: tuple[Row, ...]
    input_shape: tuple[int, ...]
    trainable_params: int
    non_trainable_params: int
    columns: tuple[str, ...] = ()

    @property
    def total_params(self) -> int:
        return self.trainable_params + self.non_trainable_params

    @property
    def total_macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def total_flops(self) -> int:
        return sum(row.flops for row in self.rows)

    @property
    def total_activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

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
        """The table and all optional columns as plain values, for JSON."""
        fields = asdict(self)
        del fields["columns"]
        return {
            **fields,
            "total_params": self.total_params,
            "total_macs": self.total_macs,
            "total_flops": self.total_flops,
            "total_activation_bytes": self.total_activation_bytes,
            "input_mb": self.input_mb,
            "forward_backward_mb": self.forward_backward_mb,
            "params_mb": self.params_mb,
            "total_mb": self.total_mb,
        }

    def __str__(self) -> str:
        extra = [part for column in self.columns for part in _COLUMNS[column]]

        def line(layer: str, shape: str, params: str, cells: Sequence[str]) -> str:
            return f"{layer:>20}  {shape:>25} {params:>15}" + "".join(f" {c:>16}" for c in cells)

        width = 64 + 17 * len(extra)
        thin, thick = "-" * width, "=" * width
        table = [
            line(
                row.layer,
                str(list(row.output_shape)),
                f"{row.params:,}",
                [cell(row) for _, cell in extra],
            )
            for row in self.rows
        ]
        totals = [
            f"Total {_COLUMNS[column][0][0]}: {getattr(self, f'total_{column}'):,}"
            for column in self.columns
            if column != "receptive_field"
        ]
        titles = [title for title, _ in extra]
        return "\n".join(
            [
                thin,
                line("Layer (type)", "Output Shape", "Param #", titles),
                thick,
                *table,
                thick,
                f"Total params: {self.total_params:,}",
                f"Trainable params: {self.trainable_params:,}",
                f"Non-trainable params: {self.non_trainable_params:,}",
                *totals,
                thin,
                f"Input size (MB): {self.input_mb:.2f}",
                f"Forward/backward pass size (MB): {self.forward_backward_mb:.2f}",
                f"Params size (MB): {self.params_mb:.2f}",
                f"Estimated Total Size (MB): {self.total_mb:.2f}",
                thin,
            ]
        )


def _field_cell(part: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        if row.receptive_field is None:
            return "-"
        height, width = getattr(row.receptive_field, part)
        return str(height) if height == width else f"{height} x {width}"

    return cell


_COLUMNS: dict[str, list[tuple[str, Callable[[Row], str]]]] = {
    "macs": [("MACs", lambda row: f"{row.macs:,}")],
    "flops": [("FLOPs", lambda row: f"{row.flops:,}")],
    "activation_bytes": [("Activation Bytes", lambda row: f"{row.activation_bytes:,}")],
    "receptive_field": [
        ("Receptive Field", _field_cell("size")),
        ("Field Stride", _field_cell("stride")),
        ("Field Offset", _field_cell("offset")),
    ],
}


def summary(model: Module, input_size: Sequence[int], columns: Sequence[str] = ()) -> Summary:
    """Tabulates every layer that the model calls in evaluation mode on images of shape
    ``input_size``. Containers, Flatten and the model itself have no row.

    ``columns`` adds to the printed table any of "macs", "flops", "activation_bytes" and
    "receptive_field"; the rows have all of them in any case. Nothing is computed: the batch that
    goes through the model has no images, or one where the model cannot do with none.
    """
    if unknown := [column for column in columns if column not in _COLUMNS]:
        raise ArgumentError(
            f"summary: expected columns of {', '.join(_COLUMNS)}, got {', '.join(unknown)}"
        )
    if not input_size or any(not isinstance(n, int) or n < 1 for n in input_size):
        raise ArgumentError(
            f"summary: expected input_size as positive numbers, got {tuple(input_size)}"
        )
    parameters = list(model.parameters())
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        try:
            rows = _trace(model, (0, *input_size))
        except Error:
            rows = _trace(model, (1, *input_size))
    finally:
        for module, training in modes:
            module.training = training
    return Summary(
        rows=rows,
        input_shape=tuple(input_size),
        trainable_params=sum(p.numel() for p in parameters if p.requires_grad),
        non_trainable_params=sum(p.numel() for p in parameters if not p.requires_grad),
        columns=tuple(columns),
    )


def _trace(model: Module, shape: tuple[int, ...]) -> tuple[Row, ...]:
    first = next(model.parameters(), None)
    dtype, device = (float32, "cpu") if first is None else (first.dtype, first.device)
    batch = zeros(shape, dtype=dtype, device=device)
    fields = FieldTracker(batch)
    rows: list[Row] = []
    made: dict[int, Tensor] = {}
    names = {id(module): name for name, module in model.named_modules()}

    def record(module: Module, args: tuple[Any, ...], output: Any) -> None:
        source = args[0] if args else None
        field = fields.called(module, source, output)
        if isinstance(module, _WITHOUT_ROW):
            return
        result: Tensor = output[0] if isinstance(output, (tuple, list)) else output
        macs, flops = _operations(module, source, result)
        passed = result is source or isinstance(module, Dropout)
        new = not passed and id(result) not in made
        made[id(result)] = result
        rows.append(
            Row(
                layer=f"{type(module).__name__}-{len(rows) + 1}",
                name=names[id(module)],
                output_shape=(-1, *result.shape[1:]),
                params=sum(parameter.numel() for parameter in module.parameters(recurse=False)),
                macs=macs,
                flops=flops,
                activation_bytes=math.prod(result.shape[1:]) * result.dtype.itemsize * new,
                receptive_field=field,
            )
        )

    layers = [module for module in model.modules() if module is not model]
    handles = [layer.register_forward_hook(record) for layer in layers]
    try:
        with no_grad():
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return tuple(rows)


def _operations(module: Module, source: Any, output: Tensor) -> tuple[int, int]:
    """Multiply-accumulates and floating-point operations of one call on one image."""
    elements = math.prod(output.shape[1:])
    weight = getattr(module, "weight", None)
    if isinstance(module, Linear):
        macs = module.weight.numel() * math.prod(output.shape[1:-1])
        return macs, 2 * macs
    if isinstance(module, ConvTranspose2d):
        macs = module.weight.numel() * math.prod(source.shape[2:])
        return macs, 2 * macs
    if hasattr(module, "in_channels") and isinstance(weight, Tensor):
        # Every weight meets each place of the output once, whatever the groups.
        macs = weight.numel() * math.prod(output.shape[2:])
        return macs, 2 * macs
    if isinstance(module, (BatchNorm1d, BatchNorm2d)):
        return 0, 2 * elements
    if isinstance(module, (MaxPool2d, AvgPool2d)):
        return 0, elements * math.prod(pair(module.kernel_size))
    if isinstance(module, AdaptiveAvgPool2d):
        return 0, math.prod(source.shape[1:])
    return 0, elements if isinstance(module, ReLU) else 0
