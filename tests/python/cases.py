"""The table of differentiable ops: a row is a name, shapes and a lambda that runs on either side.

`fn(L, *tensors)` sees a library L (Striate's or torch's names) and tensors of the row's shapes.
test_gradcheck, test_torch_parity and test_autograd all walk this table.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import striate as st
import striate.nn.functional as striate_functional

Shape = tuple[int, ...]


class Library:
    """One side of a comparison: `F` (nn.functional) and the top-level names."""

    def __init__(self, root: Any, functional: Any, device: str = "cpu"):
        self.root, self.F, self.device = root, functional, device

    def __getattr__(self, name: str) -> Any:
        return getattr(self.root, name)

    def ints(self, values: Any) -> Any:
        return self.root.tensor(np.array(values, np.int64)).to(self.device)

    def like(self, x: Any, values: Any) -> Any:
        """A constant of x's dtype."""
        return self.root.tensor(np.array(values, np.float64)).to(x.dtype).to(self.device)


def striate_library(device: str) -> Library:
    return Library(st, striate_functional, device)


STRIATE = striate_library("cpu")


def torch_library() -> Library:
    import torch

    return Library(torch, torch.nn.functional)


@dataclass(frozen=True)
class Case:
    name: str
    fn: Callable[..., Any]
    shapes: tuple[Shape, ...]
    data: str = "normal"
    torch: bool = True  # torch has the same op and, where random, the same numbers

    def inputs(self, dtype: Any = np.float64) -> list[np.ndarray]:
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [DATA[self.data](rng, shape).astype(dtype) for shape in self.shapes]


def _distinct(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """No two values, nor a value and zero, closer than 0.05: away from kinks and ties."""
    n = int(np.prod(shape))
    return ((rng.permutation(n) + 0.5 - n // 2) * 0.1).reshape(shape)


DATA: dict[str, Callable[[np.random.Generator, Shape], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 2.0, shape),
    "distinct": _distinct,
}


def _seeded_dropout(L: Any, x: Any, p: float) -> Any:
    L.manual_seed(3)
    return L.F.dropout(x, p)


def _batch_norm(L: Any, x: Any, w: Any = None, b: Any = None, training: bool = True) -> Any:
    c = x.shape[1]
    mean, var = L.like(x, np.linspace(-1, 1, c)), L.like(x, np.linspace(0.5, 2, c))
    return L.F.batch_norm(x, mean, var, w, b, training=training, eps=1e-3)


def _batch_norm_relu(L: Any, x: Any, w: Any, b: Any, r: Any = None, training: bool = True) -> Any:
    if L.root is not st:
        y = _batch_norm(L, x, w, b, training)
        return L.F.relu(y if r is None else y + r)
    c = x.shape[1]
    mean, var = L.like(x, np.linspace(-1, 1, c)), L.like(x, np.linspace(0.5, 2, c))
    return L.F.batch_norm(x, mean, var, w, b, training, eps=1e-3, residual=r, relu=True)


def _elementwise() -> list[Case]:
    binary = {
        "add": lambda L, a, b: a + b,
        "sub": lambda L, a, b: a - b,
        "mul": lambda L, a, b: a * b,
        "div": lambda L, a, b: a / b,
        "pow": lambda L, a, b: a**b,
    }
    pairs: list[tuple[Shape, Shape]] = [
        ((3, 4), (3, 4)),
        ((3, 1), (4,)),
        ((2, 3, 4), (1,)),
        ((), (2, 3)),
        ((2, 1, 3, 1), (4, 1, 5)),
        ((2, 3, 4, 4), (1, 3, 1, 1)),
    ]
    rows = [
        Case(f"{name}-{i}", fn, shapes, "positive")
        for name, fn in binary.items()
        for i, shapes in enumerate(pairs)
    ]
    unary: list[tuple[str, Callable[..., Any], str]] = [
        ("neg", lambda L, x: -x, "normal"),
        ("exp", lambda L, x: x.exp(), "normal"),
        ("log", lambda L, x: x.log(), "positive"),
        ("sqrt", lambda L, x: x.sqrt(), "positive"),
        ("abs", lambda L, x: x.abs(), "distinct"),
        ("relu", lambda L, x: L.F.relu(x), "distinct"),
        ("sigmoid", lambda L, x: L.F.sigmoid(x), "normal"),
        ("tanh", lambda L, x: L.F.tanh(x), "normal"),
        ("add-scalar", lambda L, x: x + 1.5, "normal"),
        ("radd-scalar", lambda L, x: 2 + x, "normal"),
        ("sub-scalar", lambda L, x: x - 0.5, "normal"),
        ("rsub-scalar", lambda L, x: 0.5 - x, "normal"),
        ("mul-scalar", lambda L, x: x * -3, "normal"),
        ("rmul-scalar", lambda L, x: 0.25 * x, "normal"),
        ("div-scalar", lambda L, x: x / 3, "normal"),
        ("rdiv-scalar", lambda L, x: 2 / x, "positive"),
        ("square", lambda L, x: x**2, "normal"),
        ("cube", lambda L, x: x**3.0, "normal"),
        ("pow-half", lambda L, x: x**0.5, "positive"),
        ("pow-minus-one", lambda L, x: x**-1, "positive"),
        ("pow-zero", lambda L, x: x**0, "positive"),
        ("rpow", lambda L, x: 2**x, "normal"),
        ("shared", lambda L, x: x * x + x, "normal"),
        ("self-ratio", lambda L, x: x / (x + 1), "positive"),
    ]
    rows += [Case(name, fn, ((2, 3, 5),), data) for name, fn, data in unary]
    return rows


def _shaping() -> list[Case]:
    one: list[tuple[str, Callable[..., Any]]] = [
        ("reshape", lambda L, x: x.reshape(4, 6)),
        ("reshape-infer", lambda L, x: x.reshape(-1, 2)),
        ("reshape-copy", lambda L, x: x.transpose(0, 2).reshape(8, 3)),
        ("flatten", lambda L, x: x.flatten()),
        ("flatten-1", lambda L, x: x.flatten(1)),
        ("permute", lambda L, x: x.permute(2, 0, 1)),
        ("transpose", lambda L, x: x.transpose(-1, 0)),
        ("unsqueeze", lambda L, x: x.unsqueeze(1)),
        ("squeeze", lambda L, x: x.unsqueeze(0).squeeze(0)),
        ("expand", lambda L, x: x.unsqueeze(0).expand(3, 2, 3, 4)),
        ("slice", lambda L, x: x[:, 1:3]),
        ("slice-step", lambda L, x: x[..., ::2]),
        ("slice-negative", lambda L, x: x[-1:, :-1, -3:-1]),
        ("slice-empty", lambda L, x: x[:, 3:]),
        ("select", lambda L, x: x[1]),
        ("select-negative", lambda L, x: x[:, -2]),
        ("select-slice", lambda L, x: x[0, 1:, ::3]),
        ("index-none", lambda L, x: x[:, None, 1]),
        ("index-rows", lambda L, x: x[L.ints([1, 0, 1, 1])]),
        ("contiguous", lambda L, x: x.permute(1, 2, 0).contiguous()),
        ("clone", lambda L, x: x.clone() * 2),
        ("pad", lambda L, x: L.F.pad(x, (1, 2))),
        ("pad-2d", lambda L, x: L.F.pad(x, (1, 0, 2, 3), value=0.5)),
        ("cat-self", lambda L, x: L.cat([x, x * 2, x], 1)),
    ]
    rows = [Case(name, fn, ((2, 3, 4),)) for name, fn in one]
    rows += [
        Case("cat-0", lambda L, a, b: L.cat([a, b], 0), ((2, 3), (4, 3))),
        Case("cat-last", lambda L, a, b, c: L.cat([a, b, c], -1), ((2, 3), (2, 1), (2, 4))),
        Case("cat-nchw", lambda L, a, b: L.cat([a, b], 1), ((2, 3, 4, 5), (2, 2, 4, 5))),
    ]
    return rows


def _reductions() -> list[Case]:
    rows = []
    for op in ("sum", "mean"):
        for dims in (None, 0, -1, (0, 2), (1, 2, 3), (0, 2, 3)):
            for keepdim in (False, True):
                if dims is None and keepdim:
                    continue

                def reduce(L, x, op=op, dims=dims, keepdim=keepdim):
                    return getattr(x, op)(*(() if dims is None else (dims, keepdim)))

                rows.append(Case(f"{op}-{dims}-{keepdim}", reduce, ((2, 3, 4, 5),)))
    rows.append(Case("max", lambda L, x: x.max(), ((3, 4),), "distinct"))
    for dim in (0, 1, -1):
        rows.append(Case(f"max-{dim}", lambda L, x, d=dim: x.max(d)[0], ((3, 4, 5),), "distinct"))
    rows.append(Case("max-keep", lambda L, x: x.max(1, True)[0], ((3, 4, 5),), "distinct"))
    return rows


def _products() -> list[Case]:
    matmul: list[tuple[Shape, Shape]] = [
        ((3, 4), (4, 5)),
        ((1, 1), (1, 1)),
        ((7, 17), (17, 3)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((4,), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (4,)),
    ]
    rows = [Case(f"matmul-{a}-{b}", lambda L, x, y: x @ y, (a, b)) for a, b in matmul]
    rows += [
        Case("matmul-transposed", lambda L, x, y: x.transpose(0, 1) @ y, ((4, 3), (4, 5))),
        Case("matmul-transposed-right", lambda L, x, y: x @ y.transpose(0, 1), ((3, 4), (5, 4))),
        Case("linear", lambda L, x, w, b: L.F.linear(x, w, b), ((3, 4), (5, 4), (5,))),
        Case("linear-no-bias", lambda L, x, w: L.F.linear(x, w), ((3, 4), (5, 4))),
        Case("linear-3d", lambda L, x, w, b: L.F.linear(x, w, b), ((2, 3, 4), (5, 4), (5,))),
        Case("linear-1d", lambda L, x, w, b: L.F.linear(x, w, b), ((4,), (5, 4), (5,))),
        Case("linear-wide", lambda L, x, w, b: L.F.linear(x, w, b), ((2, 33), (19, 33), (19,))),
    ]
    return rows


def _convolutions() -> list[Case]:
    # x, weight, options; every row with and without bias.
    conv2d: list[tuple[Shape, Shape, dict[str, Any]]] = [
        ((2, 3, 5, 5), (4, 3, 3, 3), {}),
        ((1, 1, 1, 1), (1, 1, 1, 1), {}),
        ((2, 3, 4, 5), (2, 3, 1, 1), {}),
        ((2, 3, 4, 5), (2, 3, 1, 1), {"stride": 2}),
        ((2, 2, 5, 6), (3, 2, 3, 3), {"padding": 1}),
        ((1, 2, 7, 6), (3, 2, 3, 2), {"stride": 2, "padding": 1}),
        ((1, 2, 7, 7), (2, 2, 3, 3), {"dilation": 2, "padding": 2}),
        ((1, 2, 9, 8), (2, 2, 3, 2), {"stride": (3, 2), "padding": (2, 1), "dilation": (2, 3)}),
        ((2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
        ((1, 3, 5, 6), (3, 1, 3, 3), {"groups": 3, "padding": 1, "stride": 2}),
        ((1, 3, 4, 4), (6, 1, 2, 2), {"groups": 3}),
        ((1, 2, 1, 7), (3, 2, 1, 5), {"padding": (0, 2)}),
        ((1, 1, 3, 3), (1, 1, 3, 3), {"padding": 3, "stride": 4}),
        ((1, 2, 4, 4), (2, 2, 2, 2), {"stride": 4}),
        ((1, 1, 12, 11), (2, 1, 11, 11), {"padding": 2, "stride": 4}),
        ((1, 17, 3, 3), (18, 17, 2, 2), {}),
    ]
    conv1d: list[tuple[Shape, Shape, dict[str, Any]]] = [
        ((2, 3, 7), (4, 3, 3), {}),
        ((2, 3, 7), (4, 3, 3), {"stride": 2, "padding": 1}),
        ((1, 2, 9), (3, 2, 3), {"dilation": 3, "padding": 2}),
        ((1, 4, 6), (4, 1, 2), {"groups": 4}),
    ]
    transposed: list[tuple[Shape, Shape, dict[str, Any]]] = [
        ((2, 3, 3, 4), (3, 2, 3, 3), {}),
        ((1, 3, 3, 3), (3, 2, 2, 2), {"stride": 2}),
        ((1, 3, 3, 3), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((1, 4, 3, 2), (4, 3, 3, 2), {"groups": 2, "padding": (1, 0)}),
        ((1, 2, 2, 3), (2, 2, 2, 3), {"stride": (3, 2), "output_padding": (2, 0)}),
        ((1, 2, 3, 3), (2, 1, 2, 2), {"dilation": 2, "padding": 1}),
    ]
    rows = []
    for op, table in (("conv2d", conv2d), ("conv1d", conv1d), ("conv_transpose2d", transposed)):
        for i, (x, w, options) in enumerate(table):
            outputs = w[1] * options.get("groups", 1) if op == "conv_transpose2d" else w[0]

            def call(L, x, w, b=None, op=op, options=options):
                return getattr(L.F, op)(x, w, b, **options)

            rows.append(Case(f"{op}-{i}", call, (x, w, (outputs,))))
            rows.append(Case(f"{op}-{i}-no-bias", call, (x, w)))
    return rows


def _pooling() -> list[Case]:
    two: list[tuple[Shape, dict[str, Any]]] = [
        ((2, 3, 4, 4), {"kernel_size": 2}),
        ((2, 3, 5, 7), {"kernel_size": 2}),
        ((1, 2, 5, 5), {"kernel_size": 3, "stride": 2}),
        ((1, 2, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
        ((1, 2, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        ((1, 2, 6, 5), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)}),
        ((1, 2, 5, 5), {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((1, 1, 4, 4), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
        ((1, 19, 3, 3), {"kernel_size": 2, "stride": 1}),
    ]
    rows = []
    for i, (shape, options) in enumerate(two):
        rows.append(
            Case(f"max_pool2d-{i}", lambda L, x, o=options: L.F.max_pool2d(x, **o), (shape,))
        )
        for include in (True, False):

            def average(L, x, o=options, include=include):
                return L.F.avg_pool2d(x, **o, count_include_pad=include)

            rows.append(Case(f"avg_pool2d-{i}-{include}", average, (shape,)))
    rows += [
        Case("max_pool2d-dilated", lambda L, x: L.F.max_pool2d(x, 2, 1, 1, 2), ((1, 2, 5, 6),)),
        Case("max_pool1d", lambda L, x: L.F.max_pool1d(x, 2), ((2, 3, 7),)),
        Case("max_pool1d-padded", lambda L, x: L.F.max_pool1d(x, 3, 2, 1), ((2, 3, 7),)),
    ]
    for i, (size, output) in enumerate((((4, 4), 2), ((5, 7), (3, 2)), ((3, 3), 1), ((2, 3), 5))):
        rows.append(
            Case(
                f"adaptive_avg_pool2d-{i}",
                lambda L, x, o=output: L.F.adaptive_avg_pool2d(x, o),
                ((2, 3, *size),),
            )
        )
    # Distinct data: a tie would make the gradient one-sided.
    return [Case(r.name, r.fn, r.shapes, "distinct") for r in rows]


def _normalisation() -> list[Case]:
    rows = []
    for shape in ((4, 3), (3, 2, 5), (2, 3, 4, 5), (2, 17, 2, 2)):
        for training in (True, False):

            def bn(L, x, w=None, b=None, training=training):
                return _batch_norm(L, x, w, b, training)

            c = (shape[1],)
            rows.append(Case(f"batch_norm-{len(shape)}d-{c[0]}-{training}", bn, (shape, c, c)))
            rows.append(Case(f"batch_norm-{len(shape)}d-{c[0]}-{training}-plain", bn, (shape,)))

            def bn_relu(L, x, w, b, r=None, training=training):
                return _batch_norm_relu(L, x, w, b, r, training)

            name = f"batch_norm_relu-{len(shape)}d-{c[0]}-{training}"
            rows.append(Case(name, bn_relu, (shape, c, c)))
            rows.append(Case(f"{name}-residual", bn_relu, (shape, c, c, shape)))
    for size in (1, 2, 3, 5, 9):

        def lrn(L, x, size=size):
            return L.F.local_response_norm(x, size, alpha=0.5, beta=0.75, k=2.0)

        rows.append(Case(f"local_response_norm-{size}", lrn, ((2, 6, 3, 2),)))
    rows += [
        Case(f"dropout-{p}", lambda L, x, p=p: _seeded_dropout(L, x, p), ((3, 5, 4),), torch=False)
        for p in (0.0, 0.3, 0.5, 1.0)
    ]
    rows.append(Case("dropout-eval", lambda L, x: L.F.dropout(x, 0.5, False), ((3, 4),)))
    return rows


def _losses() -> list[Case]:
    rows = []
    for op in ("softmax", "log_softmax"):
        for dim in (0, 1, -1):
            rows.append(
                Case(f"{op}-{dim}", lambda L, x, o=op, d=dim: getattr(L.F, o)(x, d), ((3, 5, 4),))
            )
    flat, dense = [1, 0, 4, 2], [[[1, 0], [2, 2]], [[0, 1], [1, 2]]]
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.1, 1.0):
            for labels, shape in ((flat, (4, 5)), (dense, (2, 3, 2, 2))):
                for ignore in (-100, 1):

                    def entropy(L, x, labels=labels, i=ignore, r=reduction, s=smoothing):
                        return L.F.cross_entropy(
                            x, L.ints(labels), ignore_index=i, reduction=r, label_smoothing=s
                        )

                    name = f"cross_entropy-{len(shape)}d-{reduction}-{smoothing}-{ignore}"
                    rows.append(Case(name, entropy, (shape,)))
        for labels, shape in ((flat, (4, 5)), (dense, (2, 3, 2, 2))):

            def nll(L, x, labels=labels, r=reduction):
                return L.F.nll_loss(L.F.log_softmax(x, 1), L.ints(labels), reduction=r)

            def nll_ignoring(L, x, labels=labels, r=reduction):
                return L.F.nll_loss(x, L.ints(labels), ignore_index=2, reduction=r)

            rows.append(Case(f"nll_loss-{len(shape)}d-{reduction}", nll, (shape,)))
            rows.append(Case(f"nll_loss-{len(shape)}d-{reduction}-2", nll_ignoring, (shape,)))
        rows.append(
            Case(
                f"mse_loss-{reduction}",
                lambda L, x, y, r=reduction: L.F.mse_loss(x, y, reduction=r),
                ((3, 4), (3, 4)),
            )
        )
    return rows


CASES = [
    *_elementwise(),
    *_shaping(),
    *_reductions(),
    *_products(),
    *_convolutions(),
    *_pooling(),
    *_normalisation(),
    *_losses(),
]
