"""Every differentiable op against central differences, in every memory layout."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
from cases import CASES, Case, striate_library
from gradcheck import analytic, gradcheck

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def bound(case: Case, device: str):
    library = striate_library(device)
    return lambda *tensors: case.fn(library, *tensors)


@by_name
def test_gradient(case, device):
    gradcheck(bound(case, device), *case.inputs(), device=device)


def swap_outer(leaf):
    """The same values with the first and last dimension swapped in memory."""
    return leaf.transpose(0, -1).contiguous().transpose(0, -1) if leaf.dim() > 1 else leaf


def channels_last(leaf):
    if leaf.dim() != 4:
        return leaf
    return leaf.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def strided(leaf):
    """Every second element of a buffer whose gaps hold NaN."""
    if leaf.dim() == 0:
        return leaf
    gap = st.full(leaf.shape, float("nan"), dtype=leaf.dtype, device=leaf.device)
    spread = st.cat([leaf.unsqueeze(-1), gap.unsqueeze(-1)], -1)
    return spread.flatten(-2)[..., ::2]


# A dropout mask is drawn in the order of memory, as PyTorch's is.
ordered = pytest.mark.parametrize(
    "case", [c for c in CASES if not c.name.startswith("dropout")], ids=lambda case: case.name
)


@pytest.mark.parametrize("layout", [swap_outer, channels_last, strided])
@ordered
def test_any_strides(case, layout, device):
    """Views compute what contiguous tensors do, forward and backward."""
    y, _, grads = analytic(bound(case, device), case.inputs(), device=device)
    other, _, others = analytic(bound(case, device), case.inputs(), layout, device)
    np.testing.assert_allclose(other, y, rtol=1e-12, atol=1e-12)
    for got, expected in zip(others, grads, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@by_name
def test_any_grad_output_strides(case, device):
    """Backward accepts gradients of any layout, expanded ones included."""
    arrays = case.inputs()

    def grads(make):
        leaves = [st.tensor(a, requires_grad=True, device=device) for a in arrays]
        y = bound(case, device)(*leaves)
        y.backward(make(y))
        return [leaf.grad.cpu().numpy() for leaf in leaves]

    def ones(y):
        return st.ones(y.shape, dtype=y.dtype, device=device)

    dense = grads(ones)
    for make in (
        lambda y: st.ones((), dtype=y.dtype, device=device).expand(*y.shape),
        lambda y: swap_outer(ones(y)),
        lambda y: channels_last(ones(y)),
        lambda y: strided(ones(y)),
    ):
        for got, expected in zip(grads(make), dense, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@by_name
def test_frozen_inputs(case, device):
    """Each input alone requires grad: the others' backward is skipped, not confused."""
    arrays = case.inputs()
    _, _, everything = analytic(bound(case, device), arrays, device=device)
    for i, expected in enumerate(everything):
        tensors = [st.tensor(a, requires_grad=j == i, device=device) for j, a in enumerate(arrays)]
        y = bound(case, device)(*tensors)
        v = np.random.default_rng(7).standard_normal(y.shape)
        y.backward(st.tensor(v, device=device))
        np.testing.assert_allclose(tensors[i].grad.cpu().numpy(), expected, rtol=1e-12, atol=1e-12)
        assert all(t.grad is None for j, t in enumerate(tensors) if j != i)


def test_the_check_catches_a_wrong_gradient():
    """exp(x) * constant copy of exp(x) has derivative 2 exp(2x); the tape sees only half of it."""
    with pytest.raises(AssertionError, match="gradient of input 0"):
        gradcheck(lambda x: x.exp() * x.exp().detach(), np.ones((2, 2)))
