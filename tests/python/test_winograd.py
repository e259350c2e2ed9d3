"""Winograd convolution as users meet it; tests/cpp/test_winograd.cpp tests each tile size alone."""

from __future__ import annotations

import numpy as np
import pytest

import reference as ref
import striate as st
import striate.nn.functional as F

SHAPES = [  # n, channels, filters, height, width, padding
    (1, 64, 64, 56, 56, 1),
    (2, 128, 128, 13, 17, 1),
    (3, 32, 48, 9, 10, 0),
    (1, 64, 32, 12, 5, 2),
    (1, 256, 256, 7, 7, 1),
    (5, 16, 16, 32, 32, 1),
    (2, 32, 48, 57, 58, 1),  # the weight gradient in two ranges of several blocks
]


def l2(y, expected) -> float:
    return float(np.linalg.norm(y - expected) / np.linalg.norm(expected))


def run(shape, rng):
    """Output and gradients, with the float64 reference of each."""
    n, c, o, h, w, padding = shape
    x = rng.standard_normal((n, c, h, w), dtype=np.float32)
    weight = rng.standard_normal((o, c, 3, 3), dtype=np.float32)
    tx, tw = (st.tensor(a, requires_grad=True) for a in (x, weight))
    y = F.conv2d(tx, tw, padding=padding)
    grad = rng.standard_normal(y.shape, dtype=np.float32)
    y.backward(st.tensor(grad))
    return [
        (y.detach().numpy(), ref.conv2d(x, weight, padding=padding)),
        (tx.grad.numpy(), ref.conv2d_input_grad(grad, weight, x.shape, padding=padding)),
        (tw.grad.numpy(), ref.conv2d_weight_grad(grad, x, weight.shape, padding=padding)),
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_error_stays_below_the_gate(shape, rng):
    for result, expected in run(shape, rng):
        assert l2(result, expected) < 1e-5


def test_it_can_be_turned_off(rng, without_winograd):
    for result, expected in run(SHAPES[0], rng):
        assert l2(result, expected) < 1e-6


def test_it_is_what_runs(rng):
    """On a shape for which every instruction set's model prefers it."""
    x, w = st.randn(1, 64, 56, 56), st.randn(64, 64, 3, 3)
    fast = F.conv2d(x, w, padding=1)
    st.config.winograd = False
    try:
        direct = F.conv2d(x, w, padding=1)
    finally:
        st.config.winograd = True
    assert not (fast == direct).numpy().all()


@pytest.mark.parametrize("shape", [(3, 64, 29, 30), (2, 64, 57, 58)], ids=str)
def test_same_bits_for_any_thread_count(shape, rng, restore_threads):
    x = rng.standard_normal(shape, dtype=np.float32)
    w = rng.standard_normal((96, 64, 3, 3), dtype=np.float32)
    results = []
    for threads in (1, 2, 3, 7):
        st.set_num_threads(threads)
        tx, tw = (st.tensor(a, requires_grad=True) for a in (x, w))
        y = F.conv2d(tx, tw, padding=1)
        y.backward(st.ones(y.shape))
        results.append([a.numpy().tobytes() for a in (y.detach(), tx.grad, tw.grad)])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_not_lost(value):
    """They reach every output that direct convolution would give them, and at most the tile's."""
    x = np.ones((1, 64, 56, 56), np.float32)
    x[0, 3, 20, 30] = value
    y = F.conv2d(st.tensor(x), st.ones(64, 64, 3, 3), padding=1).numpy()
    assert not np.isfinite(y[0, :, 19:22, 29:32]).any()
    spread = np.argwhere(~np.isfinite(y[0, 0]))
    assert spread.min(0).tolist() >= [16, 28]
    assert spread.max(0).tolist() <= [23, 35]
    clean = np.isfinite(y[0, 0])
    clean[16:24, 28:36] = True
    assert clean.all()


def test_large_results_are_those_of_single_images():
    """Results of more than 4 MB go past the caches."""
    x, weight = st.randn(7, 64, 60, 60, requires_grad=True), st.randn(48, 64, 3, 3)
    y = F.conv2d(x, weight, padding=1)
    y.backward(y.detach())
    for i in range(7):
        image = x.detach()[i : i + 1]
        image.requires_grad = True
        single = F.conv2d(image, weight, padding=1)
        single.backward(single.detach())
        assert l2(single.detach().numpy(), y.detach().numpy()[i : i + 1]) < 1e-5
        assert l2(image.grad.numpy(), x.grad.numpy()[i : i + 1]) < 1e-5
