"""Unusual input that must work: awkward arrays, empty batches, NaN, ties, denormals."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from devices import host


@pytest.mark.parametrize(
    "make",
    [
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a[:, ::-3],
        lambda a: a.T,
        lambda a: np.asfortranarray(a),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),  # read-only
        lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
        lambda a: a[0:0],
        lambda a: a[0, 0],
    ],
    ids=["strided", "negative", "negative-2", "transposed", "fortran", "broadcast", "read-only",
         "misaligned", "empty", "scalar"],
)  # fmt: skip
def test_awkward_arrays_are_copied(make, on):
    a = make(np.arange(24, dtype=np.float32).reshape(4, 6))
    t = on.tensor(a)
    np.testing.assert_array_equal(host(t), a)
    with st.no_grad():
        t.fill_(-1)
    assert not np.any(np.asarray(a) == -1)


@pytest.mark.parametrize("op", ["conv2d", "linear", "pool", "bn", "loss-sum", "relu"])
def test_empty_batch(op, on):
    """N = 0 gives an empty result and gradients of zero."""
    w = {"conv2d": (6, 3, 3, 3), "linear": (6, 3)}.get(op, (3,))
    weight = on.ones(w, requires_grad=True)
    x = on.zeros((0, 3) if op == "linear" else (0, 3, 8, 8))
    x.requires_grad = True
    zeros = on.zeros((3,))
    labels = on.zeros((0, 8, 8), dtype=st.int64)
    call = {
        "conv2d": lambda: F.conv2d(x, weight, padding=1),
        "linear": lambda: F.linear(x, weight),
        "pool": lambda: F.max_pool2d(x, 2) * weight.reshape(1, 3, 1, 1),
        "bn": lambda: F.batch_norm(x, zeros, zeros + 1, weight, zeros),
        "loss-sum": lambda: F.cross_entropy(x, labels, reduction="sum") + weight.sum() * 0,
        "relu": lambda: F.relu(x) * weight.reshape(1, 3, 1, 1),
    }[op]
    y = call()
    assert op == "loss-sum" or y.shape[0] == 0
    y.sum().backward()
    assert x.grad.shape == x.shape
    np.testing.assert_array_equal(host(weight.grad), np.zeros(w))


def test_nan_and_ties(on):
    x = np.array([[[[np.nan, 1.0, 2.0, 2.0], [0.0, 3.0, 2.0, 1.0]]]], np.float32)
    t = on.tensor(x, requires_grad=True)
    y = F.max_pool2d(t, 2)
    np.testing.assert_array_equal(host(y).reshape(-1), [np.nan, 2.0])
    y.backward(on.ones(y.shape))
    np.testing.assert_array_equal(host(t.grad).reshape(2, 4), [[1, 0, 1, 0], [0, 0, 0, 0]])
    low = on.full((1, 1, 2, 2), -np.inf, requires_grad=True)
    y = F.max_pool2d(low, 2)
    assert y.item() == -np.inf
    y.backward(on.ones(y.shape))
    np.testing.assert_array_equal(host(low.grad).reshape(-1), [1, 0, 0, 0])
    r = on.tensor([np.nan, 0.0, -0.0, 1.0], requires_grad=True)
    y = F.relu(r)
    np.testing.assert_array_equal(host(y), [np.nan, 0, 0, 1])
    y.backward(on.ones((4,)))
    np.testing.assert_array_equal(host(r.grad)[1:], [0, 0, 1])
    values, indices = on.tensor([[1.0, np.nan, np.nan], [2.0, 2.0, 1.0]]).max(1)
    np.testing.assert_array_equal(host(values), [np.nan, 2.0])
    np.testing.assert_array_equal(host(indices), [1, 0])


def test_callers_denormals_survive():
    """Kernels flush denormals; they leave the caller's own arithmetic as it was."""
    tiny = np.float32(1e-42)
    a = st.rand((300, 300))
    (a @ a).sum().item()
    assert np.float32(tiny * np.float32(1)) == tiny
    assert np.float64(5e-324) * 1 != 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_denormals_count_as_zero_at_any_size(dtype, threads, restore_threads):
    """One rule for one element and for a million, on the caller's thread and on the pool's."""
    st.set_num_threads(threads)
    tiny = np.finfo(dtype).tiny
    for n in (1, 3, 17, 1000, 1_000_003):
        x = st.tensor(np.full((n,), tiny / 8, dtype))
        for y in (x * 1.0, x + x, F.relu(x)):
            assert not y.numpy().any(), n
