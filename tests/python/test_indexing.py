"""Indexing, broadcasting and reductions against NumPy, on generated cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from hypothesis.extra import numpy as hnp

import striate as st
from dtypes import DTYPES, each_dtype, equal


@hs.composite
def indexed(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
    count = draw(hs.integers(0, len(shape)))
    parts = []
    for size in shape[:count]:
        parts.append(
            draw(
                hs.one_of(
                    hs.integers(-size, size - 1),
                    hs.builds(
                        slice,
                        hs.none() | hs.integers(-7, 7),
                        hs.none() | hs.integers(-7, 7),
                        hs.none() | hs.integers(1, 3),
                    ),
                )
            )
        )
    if draw(hs.booleans()):
        parts.insert(draw(hs.integers(0, len(parts))), None)
    if draw(hs.booleans()):
        parts.insert(len(parts) if count < len(shape) else draw(hs.integers(0, len(parts))), ...)
    return shape, tuple(parts)


@settings(max_examples=300, deadline=None)
@given(indexed())
def test_basic_indexing_is_numpys(device, case):
    shape, index = case
    a = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    t = st.tensor(a, device=device)
    got = t[index]
    assert got.shape == a[index].shape
    equal(got, a[index])
    with st.no_grad():
        t[index] = -1.0
    a[index] = -1.0
    equal(t, a)


@settings(max_examples=100, deadline=None)
@given(hs.lists(hs.integers(-4, 3), max_size=6), hs.integers(0, 2))
def test_row_indexing_is_numpys(device, rows, dim):
    a = np.arange(4 * 4 * 4).reshape(4, 4, 4)
    index = (slice(None),) * dim + (np.array(rows, np.int64),)
    ours = (slice(None),) * dim + (st.tensor(np.array(rows, np.int64), device=device),)
    equal(st.tensor(a, device=device)[ours], a[index])


def test_iteration_and_length(on):
    t = on.arange(6).reshape(3, 2)
    assert len(t) == 3
    assert [row.tolist() for row in t] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError):
        len(on.tensor(1.0))


@settings(max_examples=150, deadline=None)
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4),
    hs.sampled_from(["add", "sub", "mul", "div"]),
    hs.sampled_from([np.float32, np.float64]),
)
def test_broadcasting_is_numpys(device, shapes, op, dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 9, s).astype(dtype) for s in shapes.input_shapes)
    symbol = {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__"}[op]
    got = getattr(st.tensor(a, device=device), symbol)(st.tensor(b, device=device))
    assert got.shape == shapes.result_shape
    equal(got, getattr(np.asarray(a), symbol)(b))


@settings(max_examples=150, deadline=None)
@given(
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6).flatmap(
        lambda shape: hs.tuples(
            hs.just(shape), hs.sets(hs.integers(0, len(shape) - 1)), hs.booleans()
        )
    ),
    hs.randoms(use_true_random=False),
)
def test_sum_is_numpys(device, case, random):
    """Over permuted views, so that every order of strides is met; integers, so exactly."""
    shape, dims, keepdim = case
    order = random.sample(range(len(shape)), len(shape))
    a = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    t = st.tensor(a, device=device).permute(*order)
    axes = tuple(sorted(dims)) or None
    got = t.sum(axes, keepdim) if axes else t.sum()
    equal(got, a.transpose(order).sum(axis=axes, keepdims=keepdim and axes is not None))


@pytest.mark.parametrize("name", ["int64", "int32", "uint8", "bool"])
def test_integer_sums_are_int64(name, on):
    a = np.full((1000,), 1 if name == "bool" else 200).astype(DTYPES[name])
    total = on.tensor(a).sum()
    assert total.dtype is st.int64
    assert total.item() == int(a.astype(np.int64).sum())


@pytest.mark.parametrize("op", ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])
@each_dtype
def test_comparisons(op, name, on):
    a = np.array([[0, 1], [1, 0]]).astype(DTYPES[name])
    b = np.array([0, 1]).astype(DTYPES[name])
    got = getattr(on.tensor(a), op)(on.tensor(b))
    assert got.dtype is st.bool
    equal(got, getattr(a, op)(b))
    equal(getattr(on.tensor(a), op)(1), getattr(a, op)(1))
