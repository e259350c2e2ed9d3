"""NumPy's names for the types that it shares with Striate, and a comparison."""

from __future__ import annotations

import numpy as np
import pytest

import striate as st
from devices import host

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
    np.testing.assert_array_equal(host(t) if isinstance(t, st.Tensor) else t, a)
