"""Tensors: creation, interchange, indexing, views, printing, in-place edits."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest

import striate as st
from devices import host
from dtypes import DTYPES, each_dtype, equal
from striate._core import memory_stats

# --- Creation -------------------------------------------------------------------------------------


@each_dtype
def test_round_trip(name, on):
    a = np.arange(12).reshape(3, 4).astype(DTYPES[name])
    t = on.tensor(a)
    assert t.shape == (3, 4)
    assert t.dtype is getattr(st, name)
    assert host(t).dtype == a.dtype
    equal(t, a)


@each_dtype
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4, 5)])
def test_fills(name, shape, on):
    dtype = getattr(st, name)
    for make, value in ((on.zeros, 0), (on.ones, 1)):
        t = make(shape, dtype=dtype)
        equal(t, np.full(shape, value, DTYPES[name]))
        assert t.numel() == int(np.prod(shape))
    equal(on.full(shape, 1, dtype=dtype), np.ones(shape, DTYPES[name]))
    assert on.empty(shape, dtype=dtype).shape == shape


def test_python_values():
    assert st.tensor(2.5).shape == ()
    assert st.tensor(2.5).dtype is st.float32
    assert st.tensor([1, 2]).dtype is st.int64
    assert st.tensor([True]).dtype is st.bool
    assert st.tensor([[1.0, 2.0]]).dtype is st.float32
    assert st.tensor(np.arange(3)).dtype is st.int64
    assert st.tensor([1, 2], dtype=st.float64).dtype is st.float64
    assert st.tensor([1, 2], dtype="float32").dtype is st.float32
    assert st.zeros(2, 3).shape == st.zeros((2, 3)).shape == (2, 3)
    assert (st.tensor(7).item(), st.tensor(2.5).item(), st.tensor(True).item()) == (7, 2.5, True)


@pytest.mark.parametrize("args", [(5,), (2, 9), (1, 10, 3), (5, 0, -2), (0, 1, 0.25), (3, 3)])
def test_arange(args, on):
    equal(on.arange(*args), np.arange(*args))


def test_arange_dtype():
    assert st.arange(3).dtype is st.int64
    assert st.arange(0, 1, 0.5).dtype is st.float32


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_conversions(source, target, on):
    a = np.array([0, 1, 2, 100, 255]).astype(DTYPES[source])
    equal(on.tensor(a).to(getattr(st, target)), a.astype(DTYPES[target]))


def test_bfloat16_rounds_to_nearest_even(on):
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0xFF800000, 0x00000001,
                     0x3F7FFFFF, 0x80000000], np.uint32)  # fmt: skip
    x = np.append(bits.view(np.float32), np.float32(np.nan))
    t = on.tensor(x).to(st.bfloat16)
    assert t.dtype is st.bfloat16
    rounded = bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)
    expected = (rounded.astype(np.uint32) & 0xFFFF0000).view(np.float32)
    back = host(t)
    np.testing.assert_array_equal(back[:-1].view(np.uint32), expected.view(np.uint32))
    assert np.isnan(back[-1])


def test_random_streams(on):
    st.manual_seed(7)
    a, b = host(on.rand((1000,))), host(on.randn((10001,)))
    st.manual_seed(7)
    equal(on.rand((1000,)), a)
    equal(on.randn((10001,)), b)
    st.manual_seed(8)
    assert not np.array_equal(host(on.rand((1000,))), a)
    assert a.min() >= 0
    assert a.max() < 1
    assert abs(a.mean() - 0.5) < 0.05
    assert abs(b.mean()) < 0.05
    assert b.std() == pytest.approx(1, abs=0.05)
    assert np.abs(b).max() > 3


def test_rng_state_restores_the_stream(on):
    state = st.get_rng_state()
    first = host(on.randn((17,)))
    assert st.get_rng_state() != state
    st.set_rng_state(state)
    equal(on.randn((17,)), first)


def test_philox_reference_vectors(on):
    """Uniform = (word >> 8) / 2^24 of Philox4x32-10; Random123's known answer for zero keys."""
    st.manual_seed(0)
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32)
    equal(on.rand((4,)), (words >> 8).astype(np.float32) / 2**24)


# --- Views and edits ------------------------------------------------------------------------------


VIEWS = {
    "reshape": lambda t: t.reshape(6, 4),
    "flatten": lambda t: t.flatten(),
    "permute": lambda t: t.permute(2, 0, 1),
    "transpose": lambda t: t.transpose(0, 2),
    "unsqueeze": lambda t: t.unsqueeze(0),
    "squeeze": lambda t: t[:, :1].squeeze(1),
    "slice": lambda t: t[:, 1:, ::2],
    "select": lambda t: t[1],
    "expand": lambda t: t.unsqueeze(0).expand(5, 2, 3, 4),
    "detach": lambda t: t.detach(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_views_share_memory(view, on):
    t = on.arange(24).reshape(2, 3, 4).to(st.float32)
    v = view(t)
    with st.no_grad():
        t.mul_(-1)
    equal(v, host(view(on.tensor(host(t)))))
    assert host(v).max() <= 0


def test_a_view_outlives_its_owner(on):
    rows = on.arange(100000).reshape(100, 1000)[42]
    gc.collect()
    on.zeros((100, 1000), dtype=st.int64)
    equal(rows, np.arange(42000, 43000))


def test_copies_do_not_share():
    a = np.ones(3, np.float32)
    for t in (st.tensor(a), st.from_numpy(a).clone(), copy.deepcopy(st.from_numpy(a))):
        with st.no_grad():
            t.fill_(5)
    assert (a == 1).all()


def test_edits(on):
    t = on.zeros((2, 3))
    t += 2
    t *= 3
    t -= on.ones((3,))
    t /= 5
    equal(t, np.ones((2, 3)))
    t[0] = 7
    t[:, 1] = on.tensor([1.0, 2.0])
    equal(t, [[7, 1, 7], [1, 2, 1]])
    t.copy_(on.arange(3))
    equal(t, [[0, 1, 2]] * 2)
    t.zero_()
    equal(t, np.zeros((2, 3)))


def test_edit_through_overlapping_views(on):
    a = np.arange(10, dtype=np.float32)
    t = on.tensor(a)
    t[1:] = t[:-1]
    a[1:] = a[:-1].copy()
    equal(t, a)


def test_edit_of_a_leaf_needs_no_grad(on):
    x = on.ones((3,), requires_grad=True)
    with pytest.raises(st.AutogradError):
        x.fill_(2)
    with st.no_grad():
        x.fill_(2)
    equal(x, [2, 2, 2])


def test_deepcopy_and_pickle(on):
    x = on.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad
    assert y.is_leaf
    equal(y, host(x))
    equal(y.grad, host(x.grad))
    with st.no_grad():
        y.grad.fill_(0)
        y.fill_(0)
    equal(x, np.arange(6.0).reshape(2, 3))
    equal(x.grad, 2 * np.arange(6.0).reshape(2, 3))
    with pytest.raises(st.AutogradError, match="deepcopy: expected a leaf"):
        copy.deepcopy(x * 2)
    first, second = copy.deepcopy([x, x])
    assert first is second
    last = st.ones((2, 3, 4, 5)).permute(0, 3, 1, 2).clone()
    assert copy.deepcopy(last).stride() == last.stride()
    z = pickle.loads(pickle.dumps(x.detach()))
    equal(z, host(x))
    assert z.dtype is st.float64
    for dtype in (st.float32, st.bool):
        assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_hash_is_identity():
    a, b = st.ones((2,)), st.ones((2,))
    assert len({a, b, a}) == 2


def test_truth_of_many_values_is_refused(on):
    assert bool(on.tensor(1.0))
    assert not bool(on.tensor([0]))
    assert float(on.tensor(1.5)) == 1.5
    assert int(on.tensor([3])) == 3
    with pytest.raises(st.ShapeError):
        bool(on.ones((2,)))


def test_printing(on):
    text = repr(on.tensor([[1.5, 2.0], [3.0, -4.0]]))
    assert text.startswith("tensor(")
    assert "1.5" in text
    assert "-4" in text
    assert "int64" not in repr(on.tensor([1, 2]))
    assert "float64" in repr(on.zeros((2,), dtype=st.float64))
    assert "requires_grad=True" in repr(on.zeros((2,), requires_grad=True))
    assert "bfloat16" in repr(on.zeros((2,)).to(st.bfloat16))
    assert len(repr(on.zeros((1000, 1000)))) < 2000
    assert "[]" in repr(on.zeros((0,)))
    assert "grad_fn" in repr(on.zeros((2,), requires_grad=True) * 2)


def test_channels_last_is_only_an_order(on):
    a = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    t = on.tensor(a).contiguous(channels_last=True)
    assert t.shape == (2, 3, 4, 5)
    equal(t, a)
    equal(t.reshape(2, -1), a.reshape(2, -1))
    equal(t.flatten(1) + 0, a.reshape(2, -1))


def test_large_tensors_are_indexed_in_64_bits(on):
    """More than 2^31 elements: the last one is the last one."""
    n = 2**31 + 3
    t = on.zeros((n,), dtype=st.uint8)
    with st.no_grad():
        t[n - 1] = 7
    assert t[-1].item() == 7
    assert t[n - 5 :].sum().item() == 7


def test_memory_returns(on):
    before = memory_stats(on.device)["allocated_bytes"]
    t = on.zeros((1000, 1000))
    assert memory_stats(on.device)["allocated_bytes"] >= before + 4_000_000
    del t
    assert memory_stats(on.device)["allocated_bytes"] == before
