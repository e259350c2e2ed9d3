"""Fixtures that the tests share, and where the real data is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import striate as st
from devices import On
from striate import nn


def pytest_addoption(parser):
    parser.addoption("--device", help="cpu or cuda: only the tests that take a device, on this one")


def pytest_configure(config):
    config.addinivalue_line("markers", "cuda: needs a CUDA device")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(without_gpu())
    only = config.getoption("--device")
    if only is None:
        return
    chosen, others = [], []
    for item in items:
        takes_it = "device" in item.fixturenames
        takes_it |= only == "cuda" and item.get_closest_marker("cuda") is not None
        (chosen if takes_it else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = chosen


def without_gpu():
    return pytest.mark.skipif(
        not st.cuda.is_available(), reason=f"no CUDA device: {st.cuda.unavailable_reason()}"
    )


def pytest_generate_tests(metafunc):
    """A test that takes `device` runs on every device; one that does not is about the CPU, or about
    code that no device changes."""
    if "device" not in metafunc.fixturenames:
        return
    only = metafunc.config.getoption("--device")
    devices = ["cpu", pytest.param("cuda", marks=without_gpu())]
    metafunc.parametrize("device", [only] if only else devices)


@pytest.fixture
def on(device):
    """Makes tensors on the test's device: on.tensor(a), on.zeros((2, 3))."""
    return On(device)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, alone or after others."""
    st.manual_seed(0)


@pytest.fixture
def restore_threads():
    before = st.get_num_threads()
    yield
    st.set_num_threads(before)


@pytest.fixture
def without_winograd():
    st.config.winograd = False
    yield
    st.config.winograd = True


@pytest.fixture
def no_init(monkeypatch):
    """Leaves new weights undrawn, for tests that need their shapes or overwrite them."""
    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    value = os.environ.get("STRIATE_TEST_DATA")
    if not value:
        pytest.skip("needs the real data: set STRIATE_TEST_DATA to its directory")
    path = Path(value)
    assert path.is_dir(), f"STRIATE_TEST_DATA is not a directory: {path}"
    return path
