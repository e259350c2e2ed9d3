"""Tensors: creation, interchange, indexing, views, printing, in-place edits."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from hypothesis.extra import numpy as hnp

import striate as st
from striate._core import memory_stats

DTYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "int32": np.int32,
    "uint8": np.uint8,
    "bool": np.bool_,
}
each_dtype = pytest.mark.parametrize("name", DTYPES)


def equal(t, a):
    np.testing.assert_array_equal(t.detach().numpy() if isinstance(t, st.Tensor) else t, a)


# --- Creation -------------------------------------------------------------------------------------


@each_dtype
def test_round_trip(name):
    a = np.arange(12).reshape(3, 4).astype(DTYPES[name])
    t = st.tensor(a)
    assert t.shape == (3, 4)
    assert t.dtype is getattr(st, name)
    assert t.numpy().dtype == a.dtype
    equal(t, a)


@each_dtype
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (2, 3, 4, 5)])
def test_fills(name, shape):
    dtype = getattr(st, name)
    for make, value in ((st.zeros, 0), (st.ones, 1)):
        t = make(shape, dtype=dtype)
        equal(t, np.full(shape, value, DTYPES[name]))
        assert t.numel() == int(np.prod(shape))
    equal(st.full(shape, 1, dtype=dtype), np.ones(shape, DTYPES[name]))
    assert st.empty(shape, dtype=dtype).shape == shape


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
def test_arange(args):
    equal(st.arange(*args), np.arange(*args))


def test_arange_dtype():
    assert st.arange(3).dtype is st.int64
    assert st.arange(0, 1, 0.5).dtype is st.float32


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_conversions(source, target):
    a = np.array([0, 1, 2, 100, 255]).astype(DTYPES[source])
    equal(st.tensor(a).to(getattr(st, target)), a.astype(DTYPES[target]))


def test_bfloat16_rounds_to_nearest_even():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0xFF800000, 0x00000001,
                     0x3F7FFFFF, 0x80000000], np.uint32)  # fmt: skip
    x = np.append(bits.view(np.float32), np.float32(np.nan))
    t = st.tensor(x).to(st.bfloat16)
    assert t.dtype is st.bfloat16
    rounded = bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)
    expected = (rounded.astype(np.uint32) & 0xFFFF0000).view(np.float32)
    back = t.to(st.float32).numpy()
    np.testing.assert_array_equal(back[:-1].view(np.uint32), expected.view(np.uint32))
    assert np.isnan(back[-1])


def test_random_streams():
    st.manual_seed(7)
    a, b = st.rand((1000,)).numpy(), st.randn((10001,)).numpy()
    st.manual_seed(7)
    equal(st.rand((1000,)), a)
    equal(st.randn((10001,)), b)
    st.manual_seed(8)
    assert not np.array_equal(st.rand((1000,)).numpy(), a)
    assert 0 <= a.min() and a.max() < 1
    assert abs(a.mean() - 0.5) < 0.05
    assert abs(b.mean()) < 0.05 and b.std() == pytest.approx(1, abs=0.05)
    assert np.abs(b).max() > 3


def test_rng_state_restores_the_stream():
    state = st.get_rng_state()
    first = st.randn((17,)).numpy()
    assert st.get_rng_state() != state
    st.set_rng_state(state)
    equal(st.randn((17,)), first)


def test_philox_reference_vectors():
    """Uniform = (word >> 8) / 2^24 of Philox4x32-10; Random123's known answer for zero keys."""
    st.manual_seed(0)
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32)
    equal(st.rand((4,)), (words >> 8).astype(np.float32) / 2**24)


# --- Interchange ----------------------------------------------------------------------------------


@each_dtype
def test_from_numpy_shares(name):
    a = np.zeros((3, 4), DTYPES[name])
    t = st.from_numpy(a)
    a[1, 2] = 1
    assert t[1, 2].item() == 1
    with st.no_grad():
        t.fill_(1)
    assert a.all()


def test_numpy_shares_and_keeps_the_elements_alive():
    t = st.zeros((1000, 100))
    view = np.asarray(t)
    with st.no_grad():
        t.fill_(3)
    assert view[5, 5] == 3
    row = t.numpy()[7]
    del t, view
    gc.collect()
    st.ones((1000, 100))  # would reuse the block
    assert (row == 3).all()


def test_from_numpy_keeps_the_array_alive():
    t = st.from_numpy(np.arange(1000.0))
    gc.collect()
    equal(t, np.arange(1000.0))


def test_numpy_of_a_tracked_tensor_is_refused():
    x = st.ones((2,), requires_grad=True)
    with pytest.raises(st.AutogradError, match="detach"):
        x.numpy()
    equal(x.detach(), [1, 1])


def test_array_protocol():
    t = st.arange(6).reshape(2, 3)
    equal(np.asarray(t.permute(1, 0)), np.arange(6).reshape(2, 3).T)
    assert np.asarray(t, dtype=np.float64).dtype == np.float64
    copied = np.array(t)
    copied[0, 0] = 9
    assert t[0, 0].item() == 0


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int32", "uint8", "bool"])
def test_dlpack_numpy(name):
    t = st.tensor(np.arange(6).reshape(2, 3).astype(DTYPES[name]))
    view = np.from_dlpack(t.permute(1, 0))
    equal(view, t.numpy().T)
    back = st.from_dlpack(np.arange(6, dtype=DTYPES[name] if name != "bool" else np.uint8)[::2])
    equal(back, np.arange(6)[::2])


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "int32", "uint8", "bfloat16"])
def test_dlpack_torch(name):
    torch = pytest.importorskip("torch", reason="torch is the other side of the exchange")
    theirs = torch.arange(12).reshape(3, 4).to(getattr(torch, name))
    ours = st.from_dlpack(theirs.t())
    assert ours.shape == (4, 3) and ours.dtype is getattr(st, name)
    theirs[1, 2] = 42
    assert ours[2, 1].to(st.float32).item() == 42
    again = torch.from_dlpack(ours)
    assert again.data_ptr() == theirs.data_ptr()
    del theirs, again
    gc.collect()
    assert ours[2, 1].to(st.float32).item() == 42


def test_dlpack_capsule_is_consumed_once():
    capsule = st.ones((3,)).__dlpack__()
    holder = type("Holder", (), {})()
    holder.__dlpack__ = lambda **_: capsule
    holder.__dlpack_device__ = lambda: (1, 0)
    equal(st.from_dlpack(holder), [1, 1, 1])
    with pytest.raises(BufferError):
        st.from_dlpack(holder)


def test_dlpack_refuses_what_it_cannot_share():
    tracked = st.ones((3,), requires_grad=True)
    with pytest.raises((BufferError, st.AutogradError)):
        tracked.__dlpack__()
    assert st.ones((3,)).__dlpack_device__() == (1, 0)


# --- Indexing -------------------------------------------------------------------------------------


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
def test_basic_indexing_is_numpys(case):
    shape, index = case
    a = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    t = st.tensor(a)
    got = t[index]
    assert got.shape == a[index].shape
    equal(got, a[index])
    with st.no_grad():
        t[index] = -1.0
    a[index] = -1.0
    equal(t, a)


@settings(max_examples=100, deadline=None)
@given(hs.lists(hs.integers(-4, 3), max_size=6), hs.integers(0, 2))
def test_row_indexing_is_numpys(rows, dim):
    a = np.arange(4 * 4 * 4).reshape(4, 4, 4)
    index = (slice(None),) * dim + (np.array(rows, np.int64),)
    ours = (slice(None),) * dim + (st.tensor(np.array(rows, np.int64)),)
    equal(st.tensor(a)[ours], a[index])


def test_iteration_and_length():
    t = st.arange(6).reshape(3, 2)
    assert len(t) == 3
    assert [row.numpy().tolist() for row in t] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError):
        len(st.tensor(1.0))


@settings(max_examples=150, deadline=None)
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4),
    hs.sampled_from(["add", "sub", "mul", "div"]),
    hs.sampled_from([np.float32, np.float64]),
)
def test_broadcasting_is_numpys(shapes, op, dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(1, 9, s).astype(dtype) for s in shapes.input_shapes)
    symbol = {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__"}[op]
    got = getattr(st.tensor(a), symbol)(st.tensor(b))
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
def test_sum_is_numpys(case, random):
    """Over permuted views, so that every order of strides is met; integers, so exactly."""
    shape, dims, keepdim = case
    order = random.sample(range(len(shape)), len(shape))
    a = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    t = st.tensor(a).permute(*order)
    axes = tuple(sorted(dims)) or None
    got = t.sum(axes, keepdim) if axes else t.sum()
    equal(got, a.transpose(order).sum(axis=axes, keepdims=keepdim and axes is not None))


@pytest.mark.parametrize("name", ["int64", "int32", "uint8", "bool"])
def test_integer_sums_are_int64(name):
    a = np.full((1000,), 1 if name == "bool" else 200).astype(DTYPES[name])
    total = st.tensor(a).sum()
    assert total.dtype is st.int64
    assert total.item() == int(a.astype(np.int64).sum())


@pytest.mark.parametrize("op", ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])
@each_dtype
def test_comparisons(op, name):
    a = np.array([[0, 1], [1, 0]]).astype(DTYPES[name])
    b = np.array([0, 1]).astype(DTYPES[name])
    got = getattr(st.tensor(a), op)(st.tensor(b))
    assert got.dtype is st.bool
    equal(got, getattr(a, op)(b))
    equal(getattr(st.tensor(a), op)(1), getattr(a, op)(1))


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
def test_views_share_memory(view):
    t = st.arange(24).reshape(2, 3, 4).to(st.float32)
    v = view(t)
    with st.no_grad():
        t.mul_(-1)
    equal(v, view(st.tensor(t.numpy())))
    assert v.numpy().max() <= 0


def test_a_view_outlives_its_owner():
    rows = st.arange(100000).reshape(100, 1000)[42]
    gc.collect()
    st.zeros((100, 1000), dtype=st.int64)
    equal(rows, np.arange(42000, 43000))


def test_copies_do_not_share():
    a = np.ones(3, np.float32)
    for t in (st.tensor(a), st.from_numpy(a).clone(), copy.deepcopy(st.from_numpy(a))):
        with st.no_grad():
            t.fill_(5)
    assert (a == 1).all()


def test_edits():
    t = st.zeros((2, 3))
    t += 2
    t *= 3
    t -= st.ones((3,))
    t /= 5
    equal(t, np.ones((2, 3)))
    t[0] = 7
    t[:, 1] = st.tensor([1.0, 2.0])
    equal(t, [[7, 1, 7], [1, 2, 1]])
    t.copy_(st.arange(3))
    equal(t, [[0, 1, 2]] * 2)
    t.zero_()
    equal(t, np.zeros((2, 3)))


def test_edit_through_overlapping_views():
    a = np.arange(10, dtype=np.float32)
    t = st.tensor(a)
    t[1:] = t[:-1]
    a[1:] = a[:-1].copy()
    equal(t, a)


def test_edit_of_a_leaf_needs_no_grad():
    x = st.ones((3,), requires_grad=True)
    with pytest.raises(st.AutogradError):
        x.fill_(2)
    with st.no_grad():
        x.fill_(2)
    equal(x, [2, 2, 2])


def test_deepcopy_and_pickle():
    x = st.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.is_leaf
    equal(y, x.detach().numpy())
    z = pickle.loads(pickle.dumps(x.detach()))
    equal(z, x.detach().numpy())
    assert z.dtype is st.float64
    for dtype in (st.float32, st.bool):
        assert pickle.loads(pickle.dumps(dtype)) is dtype


def test_hash_is_identity():
    a, b = st.ones((2,)), st.ones((2,))
    assert len({a, b, a}) == 2


def test_truth_of_many_values_is_refused():
    assert bool(st.tensor(1.0)) and not bool(st.tensor([0]))
    assert float(st.tensor(1.5)) == 1.5 and int(st.tensor([3])) == 3
    with pytest.raises(ValueError):
        bool(st.ones((2,)))


def test_printing():
    text = repr(st.tensor([[1.5, 2.0], [3.0, -4.0]]))
    assert text.startswith("tensor(") and "1.5" in text and "-4" in text
    assert "int64" not in repr(st.tensor([1, 2]))
    assert "float64" in repr(st.zeros((2,), dtype=st.float64))
    assert "requires_grad=True" in repr(st.zeros((2,), requires_grad=True))
    assert "bfloat16" in repr(st.zeros((2,)).to(st.bfloat16))
    assert len(repr(st.zeros((1000, 1000)))) < 2000
    assert "[]" in repr(st.zeros((0,)))
    assert "grad_fn" in repr(st.zeros((2,), requires_grad=True) * 2)


def test_channels_last_is_only_an_order():
    a = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    t = st.tensor(a).contiguous(channels_last=True)
    assert t.shape == (2, 3, 4, 5)
    equal(t, a)
    equal(t.reshape(2, -1), a.reshape(2, -1))
    equal(t.flatten(1) + 0, a.reshape(2, -1))


def test_large_tensors_are_indexed_in_64_bits():
    """More than 2^31 elements: the last one is the last one."""
    n = 2**31 + 3
    t = st.zeros((n,), dtype=st.uint8)
    with st.no_grad():
        t[n - 1] = 7
    assert t[-1].item() == 7
    assert t[n - 5 :].sum().item() == 7


def test_memory_returns():
    before = memory_stats()["allocated_bytes"]
    t = st.zeros((1000, 1000))
    assert memory_stats()["allocated_bytes"] >= before + 4_000_000
    del t
    assert memory_stats()["allocated_bytes"] == before
