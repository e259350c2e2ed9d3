"""Devices: the CPU always, CUDA where it is built and a driver is found, and why not elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
import striate.nn.functional as F
from striate import models, nn, optim


def test_build_info_names_the_backends():
    info = dict(line.split(": ", 1) for line in st.build_info().splitlines())
    assert any("cpu" in value for value in info.values())
    assert st.cpu_isa() in {"baseline", "avx2", "avx512"}
    assert st.__version__.count(".") == 2


def test_absent_device_says_why():
    if st.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    reason = st.cuda.unavailable_reason()
    assert reason
    for call in (lambda: st.ones((2,)).to("cuda"), lambda: st.zeros((2,), device="cuda")):
        with pytest.raises(st.DeviceError) as caught:
            call()
        assert reason in str(caught.value)
    assert st.cuda.device_count() == 0
    assert (st.ones((2,)) + 1).sum().item() == 4


def test_tf32_is_off_unless_asked_for():
    assert not st.config.allow_tf32
    st.config.allow_tf32 = True
    try:
        assert st.config.allow_tf32
    finally:
        st.config.allow_tf32 = False


def test_device_names():
    x = st.ones((2,))
    assert x.device.type == "cpu"
    assert str(x.device) == "cpu"
    assert x.to("cpu") is x or x.to("cpu").numpy() is not None
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", ""):
        with pytest.raises(st.DeviceError):
            st.zeros((2,), device=name)
        with pytest.raises((st.DeviceError, st.DTypeError), match="cuda"):
            x.to(name)  # neither a device nor a type: the message lists both


@pytest.mark.cuda
def test_cuda_elementwise():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((33, 65)).astype(np.float32) for _ in range(2))
    x, y = (st.tensor(v, device="cuda") for v in (a, b))
    assert x.device.type == "cuda"
    np.testing.assert_array_equal((x + y).to("cpu").numpy(), a + b)
    np.testing.assert_array_equal((x * y - 2).to("cpu").numpy(), a * b - np.float32(2))
    np.testing.assert_array_equal(x.relu().to("cpu").numpy(), np.maximum(a, 0))
    np.testing.assert_array_equal(x.to("cpu").numpy(), a)


@pytest.mark.cuda
def test_losses_track_the_cpus():
    """Ten steps of LeNet-5, with a batch norm and a dropout after it."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, 64)

    def losses(device):
        st.manual_seed(0)
        net = nn.Sequential(models.lenet5(), nn.BatchNorm1d(10), nn.Dropout(0.1)).to(device)
        optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        values = []
        for _ in range(10):
            loss = F.cross_entropy(
                net(st.tensor(x, device=device)), st.tensor(labels, device=device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        return values

    np.testing.assert_allclose(losses("cuda"), losses("cpu"), rtol=1e-4)


@pytest.mark.cuda
def test_mixed_devices():
    with pytest.raises(st.DeviceError, match="add"):
        st.ones((2,)) + st.ones((2,), device="cuda")
