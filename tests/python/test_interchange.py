"""NumPy and DLPack: what is shared, what is copied, who keeps whom alive."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import striate as st
from dtypes import DTYPES, each_dtype, equal


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
def test_dlpack_torch(name, device):
    torch = pytest.importorskip("torch", reason="torch is the other side of the exchange")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    theirs = torch.arange(12, device=device).reshape(3, 4).to(getattr(torch, name))
    ours = st.from_dlpack(theirs.t())
    assert ours.shape == (4, 3)
    assert ours.dtype is getattr(st, name)
    assert ours.device.type == device
    theirs[1, 2] = 42
    if device == "cuda":
        torch.cuda.synchronize()  # the streams met at the exchange, not at this edit
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
