"""Central-difference check of gradients in float64, for any function of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import striate as st

EPS = 1e-5
RTOL, ATOL = 1e-6, 1e-7  # truncation EPS^2 |f'''| / 6 and rounding 1e-16 / EPS, with room


def analytic(
    fn: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    layout: Callable[[Any], Any] | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """(output, the direction it was projected on, the gradient of every input).

    `layout` rewrites each leaf before fn sees it, so that fn runs on views of other strides.
    """
    leaves = [st.tensor(a, requires_grad=True, device=device) for a in arrays]
    y = fn(*[layout(leaf) if layout else leaf for leaf in leaves])
    v = np.random.default_rng(7).standard_normal(y.shape)
    y.backward(st.tensor(v, device=device))
    grads = []
    for leaf in leaves:
        assert leaf.grad is not None, "an input received no gradient"
        assert leaf.grad.shape == leaf.shape
        grads.append(leaf.grad.cpu().numpy())
    return y.detach().cpu().numpy(), v, grads


def numeric(
    fn: Callable[..., Any], arrays: Sequence[np.ndarray], v: np.ndarray, device: str = "cpu"
) -> list[np.ndarray]:
    """d sum(v * fn) / d input, one element at a time."""

    def value() -> float:
        with st.no_grad():
            y = fn(*[st.tensor(a, device=device) for a in arrays])
            return float((y.cpu().numpy() * v).sum())

    grads = []
    for a in arrays:
        grad = np.empty_like(a)
        for i in np.ndindex(a.shape):
            kept = a[i]
            a[i] = kept + EPS
            high = value()
            a[i] = kept - EPS
            grad[i] = (high - value()) / (2 * EPS)
            a[i] = kept
        grads.append(grad)
    return grads


def gradcheck(fn: Callable[..., Any], *inputs: np.ndarray, device: str = "cpu") -> None:
    """Raises AssertionError unless fn's gradients agree with central differences."""
    arrays = [np.array(a, np.float64) for a in inputs]
    _, v, grads = analytic(fn, arrays, device=device)
    for i, (got, expected) in enumerate(zip(grads, numeric(fn, arrays, v, device), strict=True)):
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(
            got, expected, rtol=RTOL, atol=ATOL * scale, err_msg=f"gradient of input {i}"
        )
