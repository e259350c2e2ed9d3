"""Tensors on the device that a test runs on, and their values on the host."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import striate as st


class On:
    """Striate's creation functions with a device: On("cuda").ones((2, 3))."""

    def __init__(self, device: str):
        self.device = device

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(getattr(st, name), device=self.device)


def host(x: st.Tensor) -> np.ndarray:
    """The values in NumPy, off the tape; bfloat16, which NumPy lacks, as float32."""
    x = x.detach().cpu()
    return (x.float() if x.dtype is st.bfloat16 else x).numpy()
