"""Convolution and matrix products against the references in NumPy.

1. Integer data with S = sum |x||w| < 2^24 comes out bitwise right: any indexing bug shows.
2. Normal data stays within |y - y64| <= K u S, u = 2^-24, K the length of the reduction.
3. The relative L2 error stays below 1e-6.
test_isa.py runs this file once more on each of the other instruction sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import reference as ref
import striate as st
import striate.nn.functional as F
from devices import host


@pytest.fixture(autouse=True)
def direct_convolution(without_winograd):
    """Winograd's transforms round even on integers: test_winograd.py bounds its error."""


U = 2.0**-24
L2_GATE = 1e-6


@dataclass(frozen=True)
class Conv:
    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.x}*{self.w},{options}".replace(" ", "")

    def output_shape(self):
        sizes = [
            ref.conv_size(
                self.x[2 + d],
                self.w[2 + d],
                *(ref.pair(self.options.get(k, v))[d] for k, v in DEFAULTS),
            )
            for d in range(2)
        ]
        return (self.x[0], self.w[0], *sizes)


DEFAULTS = (("stride", 1), ("padding", 0), ("dilation", 1))

HAND_PICKED = [
    Conv((1, 1, 1, 1), (1, 1, 1, 1)),
    Conv((3, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),  # LeNet-5
    Conv((3, 6, 14, 14), (16, 6, 5, 5)),
    Conv((2, 2, 9, 17), (3, 2, 3, 4), {"stride": (2, 3), "padding": (1, 2)}),
    Conv((2, 1, 6, 21), (1, 1, 2, 7), {"padding": (0, 3)}),
    Conv((3, 5, 9, 8), (33, 5, 4, 5), {"stride": (1, 2), "padding": (2, 1)}),  # by col2im
    Conv((2, 3, 11, 12), (40, 3, 3, 5), {"stride": 3, "dilation": 2}),
    Conv((3, 16, 5, 5), (120, 16, 5, 5)),
    Conv((1, 3, 63, 63), (64, 3, 11, 11), {"stride": 4, "padding": 2}),  # AlexNet's stem
    Conv((1, 3, 41, 39), (64, 3, 7, 7), {"stride": 2, "padding": 3}),  # ResNet's stem
    # Input gradients from columns of all rows of the kernel: several ranges of rows, some of which
    # begin within an image, rows of y that only borders reach, and taps that a stride skips.
    Conv((2, 3, 60, 37), (64, 3, 3, 3), {"padding": 1}),
    Conv((2, 3, 50, 33), (65, 3, 5, 3), {"stride": (3, 1), "padding": (4, 1)}),
    Conv((1, 3, 67, 34), (64, 3, 3, 4), {"stride": (2, 3), "dilation": (4, 1), "padding": (5, 0)}),
    # a transposed weight gradient with a partial panel
    Conv((2, 3, 20, 23), (72, 3, 3, 4), {"stride": (1, 2), "padding": (1, 2), "dilation": (2, 1)}),
    Conv((1, 64, 14, 14), (64, 64, 3, 3), {"padding": 1}),
    Conv((1, 128, 7, 7), (256, 128, 1, 1), {"stride": 2}),
    Conv((1, 256, 7, 7), (64, 256, 1, 1)),
    Conv((3, 33, 9, 9), (33, 1, 3, 3), {"padding": 1, "groups": 33}),  # depthwise
    Conv((1, 32, 9, 9), (64, 1, 3, 3), {"padding": 1, "groups": 32, "stride": 2}),
    Conv((1, 300, 3, 3), (300, 300, 1, 1)),
    Conv((3, 256, 5, 5), (90, 256, 1, 1), {"stride": 2}),  # pixels of 1 KB are copied
    Conv((2, 258, 5, 4), (58, 258, 3, 2)),  # partial panels of a weight gradient
    Conv((2, 8, 20, 19), (430, 4, 3, 3), {"groups": 2}),  # filters in several parts
    Conv((1, 300, 4, 3), (17, 300, 3, 2), {"padding": 1}),
    Conv((0, 3, 8, 8), (4, 3, 3, 3), {"padding": 1}),  # an empty batch
    Conv((0, 4, 8, 8), (4, 2, 1, 1), {"groups": 2}),
    Conv((1, 2, 300, 1), (3, 2, 11, 1), {"stride": (3, 1)}),
    Conv((1, 2, 1, 300), (3, 2, 1, 11), {"stride": (1, 2), "padding": (0, 5)}),
    Conv((1, 2, 3, 3), (2, 2, 3, 3), {"padding": 5}),  # whole windows of padding
    Conv((1, 2, 20, 19), (2, 2, 2, 2), {"stride": 4}),  # rows that no window reads
    Conv((2, 5, 13, 12), (7, 5, 3, 3), {"dilation": (3, 2), "padding": (3, 2)}),
    Conv((1, 1, 24, 130), (3, 1, 5, 5), {"padding": 2}),  # few filters: bands of an image
    Conv((20, 2, 9, 40), (4, 2, 3, 3), {"stride": (2, 1)}),  # more images than partial sums
]
# Numbers of filters that leave lanes of a vector empty and, beside them, such that do not.
HAND_PICKED += [
    Conv(
        (2, 1 + o % 2, 7, 21 + o),
        (o, 1 + o % 2, 3, 4),
        {"stride": (1, 1 + o % 3), "padding": (1, o % 4), "dilation": (1 + o % 2, 1 + o % 2)},
    )
    for o in range(1, 41)
]
# Rows of results about as long as one or two vectors.
HAND_PICKED += [
    Conv((2, 1, 6, width + 2), (1 + width % 8, 1, 5, 3), {"padding": (2, 0)})
    for width in (3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47)
]


def random_convs(count: int, seed: int) -> list[Conv]:
    rng = np.random.default_rng(seed)

    def pick(*values: int) -> int:
        return int(rng.choice(values))

    convs: list[Conv] = []
    while len(convs) < count:
        kh, kw = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        if rng.random() < 0.6:
            kh, kw = pick(1, 2, 3), pick(1, 2, 3, 5)
        groups = pick(1, 1, 1, 2, 3, 8)
        c = groups * pick(1, 2, 3, 5, 8, 16, 17, 31, 67, 128)
        o = groups * pick(1, 2, 3, 7, 15, 16, 33, 48, 65)
        options = {
            "stride": (pick(1, 1, 2, 3, 4), pick(1, 1, 2, 3, 4)),
            "padding": (int(rng.integers(0, kh + 1)), int(rng.integers(0, kw + 1))),
            "dilation": (pick(1, 1, 2, 3), pick(1, 1, 2, 3)),
            "groups": groups,
        }
        conv = Conv(
            (pick(1, 1, 3), c, int(rng.integers(1, 24)), int(rng.integers(1, 24))),
            (o, c // groups, kh, kw),
            options,
        )
        shape = conv.output_shape()
        work = np.prod(shape) * c // groups * kh * kw
        if min(shape[2:]) >= 1 and work < 2e7:
            convs.append(conv)
    return convs


CONVS = HAND_PICKED + random_convs(70, seed=2024)
each_conv = pytest.mark.parametrize("conv", CONVS, ids=str)


def integers(rng, shape, dtype=np.float32, high=8):
    """Whole numbers in [-high, high]: with K < 2^17 taps every partial sum is exact in float32."""
    return rng.integers(-high, high + 1, shape).astype(dtype)


def data(conv: Conv, make):
    rng = np.random.default_rng(conv.x[1] * 1000 + conv.w[0])
    return (
        make(rng, conv.x),
        make(rng, conv.w),
        make(rng, (conv.w[0],)),
        make(rng, conv.output_shape()),
    )


def run(on, conv: Conv, x, w, b, gy):
    tensors = [on.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.conv2d(*tensors, **conv.options)
    y.backward(on.tensor(gy))
    return [host(t) for t in (y, *(t.grad for t in tensors))]


def expected(conv: Conv, x, w, b, gy):
    return (
        ref.conv2d(x, w, b, **conv.options),
        ref.conv2d_input_grad(gy, w, conv.x, **conv.options),
        ref.conv2d_weight_grad(gy, x, conv.w, **conv.options),
        gy.astype(np.float64).sum((0, 2, 3)),
    )


NAMES = ("output", "input gradient", "weight gradient", "bias gradient")


@each_conv
def test_conv2d_integers(conv, on):
    arrays = data(conv, integers)
    for name, got, want in zip(NAMES, run(on, conv, *arrays), expected(conv, *arrays), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.parametrize("conv", CONVS[::3], ids=str)
def test_conv2d_integers_float64(conv, on):
    arrays = data(conv, lambda rng, shape: integers(rng, shape, np.float64, 1 << 15))
    for name, got, want in zip(NAMES, run(on, conv, *arrays), expected(conv, *arrays), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)


@each_conv
def test_conv2d_error_bound(conv, on):
    arrays = data(conv, lambda rng, shape: rng.standard_normal(shape).astype(np.float32))
    got = run(on, conv, *arrays)
    want = expected(conv, *arrays)
    sums = expected(conv, *(np.abs(a) for a in arrays))
    n, _, oh, ow = conv.output_shape()
    taps = conv.w[2] * conv.w[3]
    lengths = (
        conv.w[1] * taps + 1,
        conv.w[0] // conv.options.get("groups", 1) * taps,
        n * oh * ow,
        n * oh * ow,
    )
    for name, y, y64, s, k in zip(NAMES, got, want, sums, lengths, strict=True):
        assert np.all(np.abs(y - y64) <= k * U * s), name
        assert np.linalg.norm(y - y64) <= L2_GATE * np.linalg.norm(y64), name


@pytest.mark.parametrize("conv", HAND_PICKED, ids=str)
def test_conv2d_reads_nothing_outside(conv, on):
    """Operands sit between NaNs: one element read past an edge would poison an output."""
    x, w, b, gy = data(conv, integers)

    def embed(a):
        padded = np.full([s + 2 for s in a.shape], np.nan, np.float32)
        inner = tuple(slice(1, -1) for _ in a.shape)
        padded[inner] = a
        leaf = on.tensor(padded, requires_grad=True)
        return leaf, leaf[inner]

    (lx, tx), (lw, tw), (lb, tb), (_, tgy) = (embed(a) for a in (x, w, b, gy))
    y = F.conv2d(tx, tw, tb, **conv.options)
    y.backward(tgy.detach())
    inner = slice(1, -1)
    got = (
        host(y),
        host(lx.grad)[inner, inner, inner, inner],
        host(lw.grad)[inner, inner, inner, inner],
        host(lb.grad)[inner],
    )
    for name, a, e in zip(NAMES, got, expected(conv, x, w, b, gy), strict=True):
        np.testing.assert_array_equal(a, e, err_msg=name)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "conv",
    [
        Conv((2, 1, 28, 28), (6, 1, 5, 5), {"padding": 2}),
        Conv((2, 1, 32, 32), (6, 1, 5, 5)),
        Conv((2, 3, 12, 12), (6, 3, 3, 3), {"padding": 1}),
        Conv((2, 2, 12, 37), (2, 2, 3, 5), {"stride": (1, 2)}),
        Conv((1, 1, 9, 17), (3, 1, 3, 4)),
        Conv((2, 6, 14, 14), (16, 6, 5, 5)),
        Conv((2, 8, 12, 12), (48, 8, 3, 3), {"padding": 1}),
        Conv((1, 3, 20, 20), (64, 3, 7, 7), {"stride": 2, "padding": 3}),
    ],
    ids=str,
)
def test_what_is_not_finite_reaches_what_reads_it(conv, value, on):
    """And nothing else, whatever is computed beside it in the lanes of a vector."""
    x, w, b, gy = data(conv, lambda rng, shape: rng.uniform(1, 2, shape).astype(np.float32))
    height, width = conv.x[2:]
    for row, column in ((0, 0), (3, 4), (2, 7), (height - 1, width - 1)):
        poisoned = x.copy()
        poisoned[0, 0, row, column] = value
        y, grad_x, grad_w, grad_b = (~np.isfinite(a) for a in run(on, conv, poisoned, w, b, gy))
        readers, _, taps, _ = expected(conv, ~np.isfinite(poisoned), w, b * 0, gy)
        np.testing.assert_array_equal(y, readers > 0)
        np.testing.assert_array_equal(grad_w, taps > 0)
        assert not grad_x.any()
        assert not grad_b.any()


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("k", "stride", "padding", "dilation"), [(1, 1, 0, 1), (3, 2, 1, 2), (11, 4, 5, 1)]
)
@pytest.mark.parametrize(("n", "c", "length"), [(0, 3, 40), (1, 3, 41), (3, 66, 300)])
def test_conv1d_integers(n, c, length, k, stride, padding, dilation, groups, on):
    rng = np.random.default_rng(k)
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    flat = dict(stride=(1, stride), padding=(0, padding), dilation=(1, dilation), groups=groups)
    x, w, b = (integers(rng, s) for s in ((n, c, length), (6, c // groups, k), (6,)))
    tensors = [on.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.conv1d(*tensors, **options)
    gy = integers(rng, tuple(y.shape))
    y.backward(on.tensor(gy))
    x4, w4, gy4 = x[:, :, None], w[:, :, None], gy[:, :, None]
    want = (
        ref.conv2d(x4, w4, b, **flat)[:, :, 0],
        ref.conv2d_input_grad(gy4, w4, x4.shape, **flat)[:, :, 0],
        ref.conv2d_weight_grad(gy4, x4, w4.shape, **flat)[:, :, 0],
        gy.astype(np.float64).sum((0, 2)),
    )
    got = (y, *(t.grad for t in tensors))
    for name, a, e in zip(NAMES, got, want, strict=True):
        np.testing.assert_array_equal(host(a), e, err_msg=name)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("n", "inputs", "outputs"),
    [
        (1, 4112, 65),
        (1, 1000, 301),
        (2, 1000, 301),
        (16, 4104, 65),
        (17, 9000, 30),
        (32, 1024, 256),
        (33, 1024, 257),
    ],
)
def test_linear_integers(n, inputs, outputs, transposed, on):
    """Large weights and few rows: up to 32 the weight is read in place, if its rows are dense."""
    rng = np.random.default_rng(n)
    x, w, b, gy = (
        integers(rng, s) for s in ((n, inputs), (outputs, inputs), outputs, (n, outputs))
    )
    tx, tw, tb = (on.tensor(a, requires_grad=True) for a in (x, w.T if transposed else w, b))
    y = F.linear(tx, tw.permute(1, 0) if transposed else tw, tb)
    y.backward(on.tensor(gy))
    weight_grad = gy.T.astype(np.float64) @ x
    np.testing.assert_array_equal(host(y), x.astype(np.float64) @ w.T + b)
    np.testing.assert_array_equal(host(tx.grad), gy.astype(np.float64) @ w)
    np.testing.assert_array_equal(host(tw.grad), weight_grad.T if transposed else weight_grad)


@pytest.mark.parametrize("n", [1, 5])
def test_linear_in_place_epilogues(n, on):
    """A forward pass with residual and ReLU, and an input gradient with a bias."""
    rng = np.random.default_rng(1)
    x, w, b, r = (integers(rng, s) for s in ((n, 5008), (99, 5008), (99,), (n, 99)))
    image, filters, residual = (a[:, :, None, None] for a in (x, w, r))
    y = F.conv2d_fused(
        *map(on.tensor, (image, filters, b)), residual=on.tensor(residual), relu=True
    )
    want = x.astype(np.float64) @ w.T + b + r
    np.testing.assert_array_equal(host(y)[:, :, 0, 0], np.maximum(want, 0))
    gy, bias = integers(rng, (n, 99)), integers(rng, 5008)
    got = F.conv_transpose2d(*map(on.tensor, (gy[:, :, None, None], filters, bias)))
    np.testing.assert_array_equal(host(got)[:, :, 0, 0], gy.astype(np.float64) @ w + bias)


TRANSPOSED = [
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((3, 5, 4, 7), (5, 3, 3, 2), {}),
    ((1, 64, 7, 7), (64, 32, 2, 2), {"stride": 2}),
    ((1, 17, 5, 6), (17, 9, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((3, 6, 5, 5), (6, 4, 5, 3), {"stride": (3, 2), "padding": (2, 1), "groups": 2}),
    ((1, 8, 6, 5), (8, 1, 4, 4), {"stride": 4, "groups": 8, "output_padding": (3, 2)}),
    ((1, 4, 5, 5), (4, 7, 3, 3), {"dilation": (2, 3), "padding": 2}),
    ((0, 4, 5, 5), (4, 7, 3, 3), {"padding": 1}),
    ((1, 3, 9, 8), (3, 65, 11, 11), {"stride": 4, "padding": 5}),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "options"), TRANSPOSED)
def test_conv_transpose2d_integers(x_shape, w_shape, options, on):
    rng = np.random.default_rng(5)
    outputs = w_shape[1] * options.get("groups", 1)
    x, w, b = (integers(rng, s) for s in (x_shape, w_shape, (outputs,)))
    tensors = [on.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.conv_transpose2d(*tensors, **options)
    gy = integers(rng, tuple(y.shape))
    y.backward(on.tensor(gy))
    conv = {k: v for k, v in options.items() if k != "output_padding"}
    want = (
        ref.conv_transpose2d(x, w, b, **options),
        ref.conv2d(gy, w, **conv),
        ref.conv2d_weight_grad(x, gy, w_shape, **conv),
        gy.astype(np.float64).sum((0, 2, 3)),
    )
    got = (y, *(t.grad for t in tensors))
    for name, a, e in zip(NAMES, got, want, strict=True):
        np.testing.assert_array_equal(host(a), e, err_msg=name)


SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 257, 300)


@pytest.mark.parametrize("seed", range(40))
def test_linear_and_matmul_integers(seed, on):
    rng = np.random.default_rng(seed)
    rows, k, columns = (int(rng.choice(SIZES)) for _ in range(3))
    rows = 0 if seed == 0 else rows
    x, w, b = (integers(rng, s) for s in ((rows, k), (columns, k), (columns,)))
    gy = integers(rng, (rows, columns))
    x64, w64, gy64 = (a.astype(np.float64) for a in (x, w, gy))
    tx, tw, tb = (on.tensor(a, requires_grad=True) for a in (x, w, b))
    y = F.linear(tx, tw, tb)
    y.backward(on.tensor(gy))
    np.testing.assert_array_equal(host(y), x64 @ w64.T + b)
    np.testing.assert_array_equal(host(tx.grad), gy64 @ w64)
    np.testing.assert_array_equal(host(tw.grad), gy64.T @ x64)
    np.testing.assert_array_equal(host(tb.grad), gy64.sum(0))
    ta, tb = on.tensor(x, requires_grad=True), on.tensor(w.T.copy(), requires_grad=True)
    z = ta @ tb
    z.backward(on.tensor(gy))
    np.testing.assert_array_equal(host(z), x64 @ w64.T)
    np.testing.assert_array_equal(host(ta.grad), gy64 @ w64)
    np.testing.assert_array_equal(host(tb.grad), x64.T @ gy64)


@pytest.mark.parametrize(("n", "c"), [(1, 1), (3, 19), (2, 64)])
@pytest.mark.parametrize(("k", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (5, 1, 2)])
def test_pooling_integers(n, c, k, stride, padding, on):
    """Ties abound in small integers: values and the first index must both be right."""
    rng = np.random.default_rng(9)
    x = integers(rng, (n, c, 13, 11), high=2)
    t = on.tensor(x, requires_grad=True)
    y = F.max_pool2d(t, k, stride, padding)
    want, where = ref.max_pool2d(x, k, stride, padding)
    np.testing.assert_array_equal(host(y), want)
    gy = integers(rng, want.shape)
    y.backward(on.tensor(gy))
    grad = np.zeros((n, c, 13 * 11))
    for i, j in np.ndindex(n, c):
        np.add.at(grad[i, j], where[i, j].reshape(-1), gy[i, j].reshape(-1))
    np.testing.assert_array_equal(host(t.grad), grad.reshape(x.shape))
    mean = host(F.avg_pool2d(on.tensor(x), k, stride, padding))
    np.testing.assert_allclose(mean, ref.avg_pool2d(x, k, stride, padding), rtol=1e-6, atol=1e-6)


LARGE = [
    # images, channels, size, filters, kernel: results of more than 4 MB go past the caches
    (7, 64, 60, 64, 1),
    (7, 64, 60, 48, 3),
    (7, 48, 60, 64, 5),
]


@pytest.mark.parametrize(("n", "c", "size", "o", "k"), LARGE)
def test_large_results_are_those_of_single_images(n, c, size, o, k):
    x = st.randn(n, c, size, size, requires_grad=True)
    weight = st.randn(o, c, k, k)
    y = F.conv2d(x, weight, padding=k // 2)
    assert min(x.numel(), y.numel()) * 4 > 4 << 20
    y.backward(y.detach())
    for i in range(n):
        image = x.detach()[i : i + 1]
        image.requires_grad = True
        single = F.conv2d(image, weight, padding=k // 2)
        single.backward(single.detach())
        assert np.array_equal(single.detach().numpy(), y.detach().numpy()[i : i + 1])
        assert np.array_equal(image.grad.numpy(), x.grad.numpy()[i : i + 1])
