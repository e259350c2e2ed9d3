"""Max-pooling of relu(x) as one op, and the modules that use it."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from striate import nn
from striate.nn.pooling import relu_max_pool

# (N, C, H, W), then kernel, stride, padding, dilation. Channels below, between and above the
# widths of vectors; windows that tile the image, leave gaps or overlap.
POOLS = [
    ((3, 6, 28, 28), 2, 2, 0, 1),
    ((2, 1, 6, 8), 2, 2, 0, 1),
    ((2, 2, 7, 7), 2, 2, 0, 1),
    ((2, 3, 9, 10), 2, 3, 1, 1),
    ((2, 7, 9, 9), 3, 3, 1, 1),
    ((2, 5, 11, 10), 2, 3, 0, 2),
    ((2, 13, 8, 6), (2, 1), (2, 1), 0, 1),
    ((2, 70, 6, 7), 3, 2, 1, 1),
    ((1, 5, 7, 7), 3, 1, 1, 1),
]
DTYPES = ["float32", "float64", "bfloat16"]


def inputs(shape, dtype):
    """Few distinct values: ties, zeros, NaN and windows without anything positive."""
    rng = np.random.default_rng(0)
    x = rng.choice([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, np.nan], shape, p=[0.3, 0.3, *[0.08] * 5])
    return st.tensor(x.astype(np.float32)).to(dtype)


def bits(function, x, device):
    """Of the result and the gradient."""
    x = x.to(device).detach()
    x.requires_grad = True
    y = function(x)
    weights = np.random.default_rng(1).integers(-8, 8, y.shape).astype(np.float32)
    y.backward(st.tensor(weights).to(x.dtype).to(device))
    return [t.detach().cpu().float().numpy() for t in (y, x.grad)]


@pytest.mark.parametrize("case", POOLS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_those_of_one_op_after_another(case, dtype, device):
    shape, *options = case
    x = inputs(shape, dtype)
    expected = bits(lambda x: F.max_pool2d(F.relu(x), *options), x, device)
    got = bits(lambda x: F.max_pool2d(x, *options, relu=True), x, device)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
    with st.no_grad():  # no indices are kept
        y = F.max_pool2d(x.to(device), *options, relu=True)
    np.testing.assert_array_equal(y.cpu().float().numpy(), expected[0])


@pytest.mark.parametrize("case", POOLS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("relu", [False, True])
def test_agreement_with_torch(case, dtype, relu, device):
    torch = pytest.importorskip("torch")
    shape, kernel, stride, padding, dilation = case
    x = st.tensor(np.nan_to_num(inputs(shape, dtype).numpy(), nan=3.0))  # torch takes a later NaN
    reference = torch.tensor(x.numpy(), requires_grad=True)
    y = torch.nn.functional.max_pool2d(
        reference.relu() if relu else reference, kernel, stride, padding, dilation
    )
    weights = np.random.default_rng(1).integers(-8, 8, y.shape)
    y.backward(torch.tensor(weights).to(y.dtype))
    got = bits(lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, relu=relu), x, device)
    np.testing.assert_array_equal(got[0], y.detach().numpy())
    np.testing.assert_array_equal(got[1], reference.grad.numpy())


def test_one_dimension(device):
    x = inputs((3, 6, 21), "float32")
    expected = bits(lambda x: F.max_pool1d(F.relu(x), 3, 2, 1), x, device)
    got = bits(lambda x: F.max_pool1d(x, 3, 2, 1, relu=True), x, device)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- Modules ------------------------------------------------------------------------------------


class OwnPool(nn.MaxPool2d):
    def forward(self, input):
        return super().forward(input) * 2.0


class OwnReLU(nn.ReLU):
    def forward(self, input):
        return super().forward(input) + 1.0


@pytest.mark.parametrize("relu", [nn.ReLU(), OwnReLU()], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), OwnPool(2)], ids=lambda m: type(m).__name__)
def test_the_helper_calls_what_is_there(relu, pool):
    x = st.rand(2, 3, 4, 4) - 0.5
    expected = pool(relu(x)).numpy()
    np.testing.assert_array_equal(relu_max_pool(relu, pool, x).numpy(), expected)
    np.testing.assert_array_equal(nn.Sequential(relu, pool)(x).numpy(), expected)


def test_hooks_see_what_lies_between():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
    x, seen = st.rand(2, 3, 8, 8) - 0.5, []
    plain = model(x).detach().numpy()
    handles = [
        layer.register_forward_hook(lambda module, args, output: seen.append(output.shape[2]))
        for layer in model
    ]
    np.testing.assert_array_equal(model(x).detach().numpy(), plain)
    assert seen == [8, 4, 4, 4, 2]
    for handle in handles:
        handle.remove()
    np.testing.assert_array_equal(model(x).detach().numpy(), plain)
    assert len(seen) == 5


def test_the_gradient_of_two_layers():
    x = st.rand(2, 3, 4, 4) - 0.5
    x.requires_grad = True
    y = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))(x)
    y.sum().backward()
    assert (x.grad.numpy().reshape(2, 3, 2, 2, 2, 2).sum((3, 5)) == (y.detach().numpy() > 0)).all()
