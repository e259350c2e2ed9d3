"""Striate trains and runs convolutional networks, LeNet to ResNet, on a CPU or an NVIDIA GPU."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from striate._config import config
from striate._core import (
    ArgumentError,
    AutogradError,
    Device,
    DeviceError,
    DType,
    DTypeError,
    Error,
    FormatError,
    IndexError,
    OutOfMemoryError,
    ShapeError,
    Tensor,
    __version__,
    abs,
    arange,
    argmax,
    bfloat16,
    bool,
    build_info,
    cat,
    cpu_isa,
    empty,
    empty_like,
    exp,
    float32,
    float64,
    from_dlpack,
    from_numpy,
    full,
    get_num_threads,
    get_rng_state,
    int32,
    int64,
    is_autocast_enabled,
    is_grad_enabled,
    log,
    manual_seed,
    matmul,
    ones,
    ones_like,
    rand,
    randn,
    relu,
    set_grad_enabled,
    set_num_threads,
    set_rng_state,
    sigmoid,
    sqrt,
    stack,
    tanh,
    tensor,
    uint8,
    zeros,
    zeros_like,
)
from striate.autocast import autocast
from striate.grad_mode import enable_grad, no_grad
from striate.graphs import graph
from striate.serialization import load, load_metadata, save

if TYPE_CHECKING:
    from striate import cuda, data, models, nn, optim
    from striate.checkpoint import load_checkpoint
    from striate.receptive_field import effective_receptive_field
    from striate.summary import Summary, summary

# Loaded on first use, so that `import striate` stays quick.
_SUBMODULES = ("cuda", "data", "models", "nn", "optim")


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return importlib.import_module(f"striate.{name}")
    if name in ("summary", "Summary"):
        module = importlib.import_module("striate.summary")
        # Importing the module binds it to `striate.summary`; the function takes its place.
        globals().update(summary=module.summary, Summary=module.Summary)
        return globals()[name]
    if name == "load_checkpoint":
        return importlib.import_module("striate.checkpoint").load_checkpoint
    if name == "effective_receptive_field":
        return importlib.import_module("striate.receptive_field").effective_receptive_field
    raise AttributeError(f"module 'striate' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "ArgumentError",
    "AutogradError",
    "DType",
    "DTypeError",
    "Device",
    "DeviceError",
    "Error",
    "FormatError",
    "IndexError",
    "OutOfMemoryError",
    "ShapeError",
    "Summary",
    "Tensor",
    "__version__",
    "abs",
    "arange",
    "argmax",
    "autocast",
    "bfloat16",
    "bool",
    "build_info",
    "cat",
    "config",
    "cpu_isa",
    "cuda",
    "data",
    "effective_receptive_field",
    "empty",
    "empty_like",
    "enable_grad",
    "exp",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "get_num_threads",
    "get_rng_state",
    "graph",
    "int32",
    "int64",
    "is_autocast_enabled",
    "is_grad_enabled",
    "load",
    "load_checkpoint",
    "load_metadata",
    "log",
    "manual_seed",
    "matmul",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "rand",
    "randn",
    "relu",
    "save",
    "set_grad_enabled",
    "set_num_threads",
    "set_rng_state",
    "sigmoid",
    "sqrt",
    "stack",
    "summary",
    "tanh",
    "tensor",
    "uint8",
    "zeros",
    "zeros_like",
]
