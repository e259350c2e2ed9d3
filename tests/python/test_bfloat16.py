"""bfloat16: every kernel against float64 on the rounded operands, with the bound that one rounding
of the result and float32 sums allow, and exactly where sums of integers are exact; Winograd's with
rounded operands by the bounds of docs/mixed_precision.md alone.
"""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import host
from striate import nn
from striate._core import conv2d_algorithms

U_IN = 2.0**-7
# Of DESIGN: |y - y64| <= (K u + u_in) S, where S is the sum of |x||w|.
GATE = 8e-3
THREADS = st.get_num_threads()


def rounded(values: np.ndarray) -> np.ndarray:
    """To nearest bfloat16, ties to even, as float64; by integer arithmetic of its own."""
    word = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    upper, lower = word >> 16, word & 0xFFFF
    up = (lower > 0x8000) | ((lower == 0x8000) & (upper & 1 == 1))
    return ((upper + up) << 16).astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.fixture
def bf16(on):
    """Makes bfloat16 tensors."""

    def make(values: np.ndarray, requires_grad: bool = False) -> st.Tensor:
        x = on.tensor(np.asarray(values, np.float32)).to("bfloat16")
        return x.requires_grad_(requires_grad)

    return make


def array(x: st.Tensor) -> np.ndarray:
    assert x.dtype is st.bfloat16
    return host(x).astype(np.float64)


def one_rounding(got: st.Tensor, exact: np.ndarray, slack: float = 0.0) -> None:
    """Within one rounding to bfloat16 of the exact result."""
    value = array(got)
    assert value.shape == exact.shape
    bound = np.abs(exact) * 2.0**-8 * (1 + 1e-3) + slack + 1e-38
    assert (np.abs(value - exact) <= bound).all(), np.abs(value - exact).max()


def algorithms_of(channels: int, edge: int, kernel: int, padding: int) -> set[str]:
    operands = [
        st.ones(s).to("bfloat16")
        for s in ((2, channels, edge, edge), (channels, channels, kernel, kernel))
    ]
    return set(conv2d_algorithms(*operands, padding=padding).values())


def winograd_rounds_operands(on) -> bool:
    """Where the processor multiplies pairs of bfloat16."""
    return on.device == "cpu" and algorithms_of(64, 14, 3, 1) == {"winograd3"}


# (n, c, h, w, o, kernel, stride, padding, dilation, groups)
CONVS = {
    "3x3": (2, 16, 9, 11, 24, 3, 1, 1, 1, 1),
    "stem": (2, 3, 23, 21, 32, 7, 2, 3, 1, 1),
    "1x1": (3, 64, 7, 7, 96, 1, 1, 0, 1, 1),
    "1x1 stride": (2, 32, 9, 8, 40, 1, 2, 0, 1, 1),
    "3x3 stride": (2, 24, 13, 14, 17, 3, 2, 1, 1, 1),
    "odd": (1, 5, 7, 7, 7, 3, 1, 1, 1, 1),
    "dilated": (2, 6, 12, 9, 33, 3, 1, 2, 2, 1),
    "grouped": (2, 12, 8, 8, 18, 3, 1, 1, 1, 3),
    "odd groups": (2, 9, 8, 8, 12, 3, 1, 1, 1, 3),
    "depthwise": (2, 10, 9, 9, 10, 3, 2, 1, 1, 10),
    "stride over kernel": (1, 4, 11, 11, 6, 2, 3, 0, 1, 1),
    "one channel": (2, 1, 12, 12, 6, 5, 1, 2, 1, 1),
    "wide": (1, 130, 5, 5, 65, 3, 1, 1, 1, 1),
    "winograd": (2, 64, 12, 15, 64, 3, 1, 1, 1, 1),
    "many pixels": (3, 40, 23, 21, 70, 1, 1, 0, 1, 1),
}


def conv_operands(shape, draw):
    n, c, h, w, o, k, stride, pad, dilation, groups = shape
    x, weight, bias = draw((n, c, h, w)), draw((o, c // groups, k, k)), draw((o,))
    options = {"stride": stride, "padding": pad, "dilation": dilation, "groups": groups}
    return x, weight, bias, options


def float64_conv(x, weight, bias, options, grad):
    """Output and gradients in float64, by the float64 kernels (which have tests of their own)."""
    tensors = [st.tensor(t, dtype="float64", requires_grad=True) for t in (x, weight, bias)]
    y = F.conv2d(*tensors, **options)
    y.backward(st.tensor(grad(y.shape), dtype="float64"))
    return [np.asarray(y.detach()), *(np.asarray(t.grad) for t in tensors)]


@pytest.mark.parametrize("name", CONVS)
def test_conv_passes_within_the_bound(name, bf16, on):
    rng = np.random.default_rng(len(name))
    x, weight, bias, options = conv_operands(CONVS[name], lambda s: rounded(rng.standard_normal(s)))
    gradient = {}

    def grad(shape):
        return gradient.setdefault(shape, rounded(rng.standard_normal(shape)))

    exact = float64_conv(x, weight, bias, options, grad)
    sizes = float64_conv(abs(x), abs(weight), abs(bias), options, lambda s: abs(gradient[s]))
    tensors = [bf16(t, True) for t in (x, weight, bias)]
    y = F.conv2d(*tensors, **options)
    y.backward(bf16(gradient[y.shape]))
    for got, wanted, size in zip((y, *(t.grad for t in tensors)), exact, sizes, strict=True):
        value = array(got)
        terms = max(weight[0].size, weight.size // weight.shape[1], y.numel() // y.shape[1])
        assert (np.abs(value - wanted) <= (terms * 2.0**-24 + U_IN) * size + 1e-30).all()
        assert np.linalg.norm(value - wanted) <= GATE * np.linalg.norm(wanted)
        if not (name == "winograd" and winograd_rounds_operands(on)):
            one_rounding(got, wanted, terms * 2.0**-23 * size)


def test_winograd_is_what_runs_on_the_cpu():
    pairs = algorithms_of(64, 14, 1, 0) == {"pairs"}
    assert algorithms_of(64, 14, 3, 1) == {"winograd3" if pairs else "winograd4"}


@pytest.mark.parametrize("name", ["winograd", "many pixels", "odd", "stem"])
def test_the_same_bits_for_any_number_of_threads(name, bf16):
    x, weight, bias, options = conv_operands(CONVS[name], np.random.default_rng(5).standard_normal)
    results = []
    for threads in (1, 2, 3, 7):
        st.set_num_threads(threads)
        tensors = [bf16(t, True) for t in (x, weight, bias)]
        y = F.conv2d(*tensors, **options)
        y.backward(y.detach())
        results.append([array(t) for t in (y, *(t.grad for t in tensors))])
    st.set_num_threads(THREADS)
    for other in results[1:]:
        for one, first in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(one, first)


@pytest.mark.parametrize("name", CONVS)
def test_conv_of_integers_is_exact(name, without_winograd, bf16):
    rng = np.random.default_rng(7)
    x, weight, bias, options = conv_operands(
        CONVS[name], lambda s: rng.integers(-256, 257, s).astype(np.float64)
    )
    sparse = rng.random(x.shape) < 0.02  # sums stay below 2^24
    x = np.where(sparse, x, np.sign(x))
    exact = float64_conv(x, weight, bias, options, lambda s: np.sign(np.ones(s)))
    assert max(np.abs(e).max() for e in exact) < 2**24
    tensors = [bf16(t, True) for t in (x, weight, bias)]
    y = F.conv2d(*tensors, **options)
    y.backward(bf16(np.ones(y.shape)))
    for got, wanted in zip((y, *(t.grad for t in tensors)), exact, strict=True):
        np.testing.assert_array_equal(array(got), rounded(wanted))


def test_conv_transpose_linear_and_matmul(bf16):
    rng = np.random.default_rng(3)
    x, weight = (
        rounded(rng.standard_normal((2, 6, 5, 7))),
        rounded(rng.standard_normal((6, 9, 3, 3))),
    )
    wide = F.conv_transpose2d(
        st.tensor(x, dtype="float64"), st.tensor(weight, dtype="float64"), stride=2, padding=1
    )
    got = F.conv_transpose2d(bf16(x), bf16(weight), stride=2, padding=1)
    one_rounding(got, np.asarray(wide), 1e-4)
    for rows, k, n in ((1, 64, 33), (5, 7, 10), (33, 100, 1)):
        a, b = rounded(rng.standard_normal((rows, k))), rounded(rng.standard_normal((n, k)))
        one_rounding(F.linear(bf16(a), bf16(b)), a @ b.T, 1e-4)
        left, right = bf16(a, True), bf16(b.T, True)
        y = left @ right
        one_rounding(y, a @ b.T, 1e-4)
        y.backward(bf16(np.ones(y.shape)))
        one_rounding(left.grad, np.ones(y.shape) @ b, 1e-4)
        one_rounding(right.grad, a.T @ np.ones(y.shape), 1e-4)


@pytest.mark.parametrize(
    ("channels", "filters", "edge", "slack"), [(8, 40, 6, 1e-5), (64, 64, 14, 1e-3)]
)
def test_fused_convolution_adds_the_residual_before_it_rounds(
    channels, filters, edge, slack, bf16, on
):
    """The second by Winograd's transforms, whose error is some 1e-5 of results around 30 if they do
    not round operands.
    """
    rng = np.random.default_rng(4)
    x = rounded(rng.standard_normal((2, channels, edge, edge)))
    w = rounded(rng.standard_normal((filters, channels, 3, 3)))
    r = rounded(rng.standard_normal((2, filters, edge, edge)))
    b = rng.standard_normal(filters).astype(np.float32)
    wide = F.conv2d(*(st.tensor(t, dtype="float64") for t in (x, w, b)), padding=1)
    exact = np.maximum(host(wide) + r, 0)
    got = F.conv2d_fused(bf16(x), bf16(w), on.tensor(b), padding=1, residual=bf16(r), relu=True)
    if edge == 14 and winograd_rounds_operands(on):
        assert np.linalg.norm(array(got) - exact) <= GATE * np.linalg.norm(exact)
    else:
        one_rounding(got, exact, slack)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_element_wise(size, bf16):
    rng = np.random.default_rng(size)
    a, b = rounded(rng.standard_normal(size)), rounded(rng.uniform(0.5, 2, size))
    x, y = bf16(a), bf16(b)
    for got, exact in (
        (x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (x * 3.0, a * 3),
        (1.0 - x, 1 - a), (-x, -a), (st.relu(x), np.maximum(a, 0)), (st.exp(x), np.exp(a)),
        (st.tanh(x), np.tanh(a)), (st.sigmoid(x), 1 / (1 + np.exp(-a))), (st.log(y), np.log(b)),
        (st.sqrt(y), np.sqrt(b)), (y**2.0, b * b), (st.abs(x), np.abs(a)),
    ):  # fmt: skip
        one_rounding(got, exact, 1e-6)
    assert (host(x < y) == (a < b)).all()
    one_rounding(x.sum(), a.sum(), 1e-4)
    one_rounding(x.mean(), a.mean(), 1e-6)
    assert x.max().item() == a.max()
    assert x.argmax().item() == a.argmax()


def test_sums_keep_what_bfloat16_cannot(on):
    ones = on.ones((1000, 3)).to("bfloat16")
    assert host(ones.sum(0)).tolist() == [1000, 1000, 1000]
    assert ones.sum().item() == 3008  # 3000, rounded once
    index = on.tensor(np.zeros(1000, np.int64))
    x = on.zeros((1, 2)).to("bfloat16").requires_grad_()
    y = x[index]
    y.backward(on.ones(y.shape).to("bfloat16"))
    assert host(x.grad).tolist() == [[1000, 1000]]


def test_nan_and_ties(on):
    x = on.tensor(np.array([np.nan, np.inf, -np.inf, 1 + 2.0**-8, 1 + 3 * 2.0**-8], np.float32))
    got = host(x.to("bfloat16"))
    assert np.isnan(got[0])
    assert got[1:].tolist() == [np.inf, -np.inf, 1.0, 1 + 2.0**-6]
    assert np.isnan(host(x.to("bfloat16") * 1.0)[0])
    assert np.isnan(host(st.relu(x.to("bfloat16")))[0])


@pytest.mark.parametrize("channels", [1, 5, 32, 70])
def test_pooling(channels, bf16):
    rng = np.random.default_rng(channels)
    x = rounded(rng.standard_normal((2, channels, 9, 8)))
    pools = (
        lambda t: F.max_pool2d(t, 2),
        lambda t: F.max_pool2d(t, 3, stride=2, padding=1),
        lambda t: F.avg_pool2d(t, 3, stride=2, padding=1, count_include_pad=False),
        lambda t: F.avg_pool2d(t, 2, stride=1, padding=1, ceil_mode=True),
        lambda t: F.adaptive_avg_pool2d(t, (3, 5)),
    )
    for pool in pools:
        wide, narrow = st.tensor(x, dtype="float64", requires_grad=True), bf16(x, True)
        expected, got = pool(wide), pool(narrow)
        one_rounding(got, np.asarray(expected.detach()), 1e-6)
        grad = rounded(rng.standard_normal(got.shape))
        expected.backward(st.tensor(grad, dtype="float64"))
        got.backward(bf16(grad))
        one_rounding(narrow.grad, np.asarray(wide.grad), 1e-6)


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 7, 5), (2, 70, 3, 3)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_keeps_float32_statistics(shape, training, on):
    rng = np.random.default_rng(1)
    x, grad = rounded(3 + rng.standard_normal(shape)), rounded(rng.standard_normal(shape))
    c = shape[1]
    vectors = [rng.uniform(0.5, 1.5, c).astype(np.float32) for _ in range(4)]
    results = []
    for dtype, precise, tensor in (
        ("float64", "float64", st.tensor),
        ("bfloat16", "float32", on.tensor),
    ):
        mean, var, weight, bias = (tensor(v, dtype=precise) for v in vectors)
        weight.requires_grad_()
        bias.requires_grad_()
        source = tensor(x, dtype=dtype).requires_grad_()
        y = F.batch_norm(source, mean, var, weight, bias, training)
        y.backward(tensor(grad, dtype=dtype))
        results.append((y, source.grad, weight.grad, bias.grad, mean, var))
    for index, (exact, got) in enumerate(zip(*results, strict=True)):
        exact = np.asarray(exact.detach())
        if index < 2:
            one_rounding(got, exact, 1e-5)
        else:
            assert got.dtype is st.float32
            np.testing.assert_allclose(host(got), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 10), (3, 200), (2, 7, 4, 5)])
def test_softmax_response_norm_and_dropout(shape, bf16, on):
    rng = np.random.default_rng(2)
    x, grad = rounded(rng.standard_normal(shape)), rounded(rng.standard_normal(shape))
    functions = [lambda t: F.softmax(t, 1), lambda t: F.log_softmax(t, 1)]
    if len(shape) == 4:
        functions.append(lambda t: F.local_response_norm(t, 3, alpha=0.5))
    for function in functions:
        wide, narrow = st.tensor(x, dtype="float64", requires_grad=True), bf16(x, True)
        expected, got = function(wide), function(narrow)
        one_rounding(got, np.asarray(expected.detach()), 1e-5)
        expected.backward(st.tensor(grad, dtype="float64"))
        got.backward(bf16(grad))
        # The backward reads the rounded output.
        np.testing.assert_allclose(array(narrow.grad), np.asarray(wide.grad), atol=0.04)
    st.manual_seed(3)
    kept = host(F.dropout(on.ones((500,)), 0.25)) != 0
    st.manual_seed(3)
    got = array(F.dropout(on.ones((500,)).to("bfloat16"), 0.25))
    np.testing.assert_array_equal(got, np.where(kept, rounded(4 / 3), 0))


def test_losses_are_float32(bf16, on):
    rng = np.random.default_rng(5)
    x, target = rounded(rng.standard_normal((8, 10))), rng.integers(0, 10, 8)
    narrow = bf16(x, True)
    loss = F.cross_entropy(narrow, on.tensor(target))
    assert loss.dtype is st.float32
    wide = st.tensor(x, dtype="float64", requires_grad=True)
    expected = F.cross_entropy(wide, st.tensor(target))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    one_rounding(narrow.grad, np.asarray(wide.grad), 1e-8)
    assert F.mse_loss(bf16(x), bf16(x)).dtype is st.float32
    assert F.nll_loss(F.log_softmax(bf16(x), 1), on.tensor(target)).dtype is st.float32


def test_module_in_bfloat16_keeps_batch_norm_float32(on):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).to("bfloat16")
    model.to(on.device)
    assert model[0].weight.dtype is st.bfloat16
    assert {t.dtype for t in (model[1].weight, model[1].running_var)} == {st.float32}
    y = model(on.randn((2, 3, 8, 8)).to("bfloat16"))
    assert y.dtype is st.bfloat16
    model.eval()
    with st.no_grad():
        x = on.randn((2, 3, 8, 8)).to("bfloat16")
        np.testing.assert_allclose(array(model.fuse()(x)), array(model(x)), atol=0.03)
    assert model.double()[1].weight.dtype is st.float64


def test_mixed_types_are_refused(on):
    x, w = on.randn((1, 2, 4, 4)), on.randn((2, 2, 3, 3))
    with pytest.raises(st.DTypeError, match=r"conv2d: expected weight of type bfloat16"):
        F.conv2d(x.to("bfloat16"), w)
    with pytest.raises(st.DTypeError, match=r"add: expected"):
        x + x.to("bfloat16")
    with pytest.raises(st.DTypeError, match=r"batch_norm: expected weight of type float32"):
        F.batch_norm(x.to("bfloat16"), None, None, on.ones(2).to("bfloat16"), None, True)
    with pytest.raises(st.DTypeError, match=r"conv2d: expected bias of type bfloat16"):
        F.conv2d(x.to("bfloat16"), w.to("bfloat16"), on.ones(2, dtype="float64"))
    weight = nn.Parameter(w.to("bfloat16"))
    weight.grad = on.ones(w.shape).to("bfloat16")
    before = host(weight)
    with pytest.raises(st.DTypeError, match=r"sgd: expected parameters of type float32 or float64"):
        st.optim.SGD([weight], lr=0.1).step()
    np.testing.assert_array_equal(host(weight), before)


@pytest.mark.parametrize("name", ["3x3", "stem", "1x1", "3x3 stride", "wide"])
def test_bits_do_not_depend_on_threads(name):
    rng = np.random.default_rng(9)
    *operands, options = conv_operands(CONVS[name], rng.standard_normal)
    before, results = st.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            st.set_num_threads(threads)
            tensors = [st.tensor(t, dtype="bfloat16", requires_grad=True) for t in operands]
            y = F.conv2d(*tensors, **options)
            y.backward(y.detach())
            results.append([array(t) for t in (y, *(t.grad for t in tensors))])
    finally:
        st.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nan_stays_where_it_is(bf16):
    x = np.ones((1, 3, 5, 7))
    x[0, 0, 4, 6] = np.nan
    weight = bf16(np.ones((40, 3, 2, 2)), True)
    y = F.conv2d(bf16(x), weight)
    expected = np.zeros(y.shape, bool)
    expected[:, :, 3, 5] = True
    np.testing.assert_array_equal(np.isnan(array(y)), expected)
    y = F.conv2d(bf16(x), weight, stride=1)
    grad = np.ones(y.shape)
    y.backward(bf16(grad))
    # Only the last tap of the first channel reads that pixel.
    expected = np.zeros(weight.shape, bool)
    expected[:, 0, 1, 1] = True
    np.testing.assert_array_equal(np.isnan(array(weight.grad)), expected)
