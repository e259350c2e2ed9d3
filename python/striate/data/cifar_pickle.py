"""The batches of CIFAR-10's Python archive, without pickle: nothing is imported or called.

They are dicts that Python 2 and NumPy pickled: ``data``, a uint8 array of records without labels,
and ``labels``, a list; other entries are passed over.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from striate._core import FormatError
from striate.checkpoint.pickle_reader import Machine, Name
from striate.checkpoint.tensors import is_size, quote

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NAMES = {"numpy.ndarray", "numpy.dtype", *(f"{m}._reconstruct" for m in _ARRAY_MODULES)}
_MAX_BYTES = 1 << 26


@dataclass
class _Type:
    """A dtype, which must be uint8."""


@dataclass
class _Array:
    values: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))


class _BatchMachine(Machine):
    """Python 2's texts are bytes, of an array's size at most; the only names are NumPy's."""

    def text(self, length_size: int) -> None:
        length = self.integer(length_size)
        if length > _MAX_BYTES:
            raise FormatError(f"pickle: expected at most {_MAX_BYTES} bytes of text, got {length}")
        data = self.take(length)
        self.push(data.decode("latin-1") if length < 256 else data)

    def name(self, module: object, name: object) -> None:
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise FormatError(f"pickle: refused the name {quote(full)}: only arrays are loaded")
        self.push(Name(full))

    def reduce(self) -> None:
        args, callee = self._stack.pop(), self._stack.pop()
        what = callee.text if isinstance(callee, Name) else ""
        if what == "numpy.dtype" and type(args) is tuple and args[:1] == ("u1",):
            self.push(_Type())
        elif what.endswith("._reconstruct") and args[:1] == (Name("numpy.ndarray"),):
            self.push(_Array())
        else:
            raise FormatError(f"pickle: refused to call {quote(what or callee)} of {quote(args)}")

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Type) and type(state) is tuple:
            return  # byte order and alignment, of no concern to single bytes
        if not (isinstance(target, _Array) and type(state) is tuple and len(state) == 5):
            raise FormatError(f"pickle: refused to set the state of {quote(target)}")
        _, shape, kind, transposed, data = state
        sizes = type(shape) is tuple and len(shape) == 2 and all(map(is_size, shape))
        if not (sizes and isinstance(kind, _Type) and transposed is False):
            raise FormatError("pickle: expected an array of uint8 with rows")
        content = data.encode("latin-1") if isinstance(data, str) else data
        if not isinstance(content, bytes) or len(content) != shape[0] * shape[1]:
            raise FormatError(f"pickle: expected as many bytes as an array of {shape} has")
        target.values = np.frombuffer(content, np.uint8).reshape(shape)


def read_batch(content: bytes) -> bytes:
    """The records of a batch in the binary version's layout."""
    batch: Any = _BatchMachine(io.BytesIO(content)).run()
    if not isinstance(batch, dict) or not isinstance(batch.get("data"), _Array):
        raise FormatError("pickle: expected a dict with an array 'data'")
    images, labels = batch["data"].values, batch.get("labels")
    if not (isinstance(labels, list) and len(labels) == len(images)):
        raise FormatError(f"pickle: expected a list of {len(images)} 'labels'")
    if not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise FormatError("pickle: expected labels from 0 to 255")
    column = np.array(labels, np.uint8).reshape(-1, 1)
    return np.concatenate([column, images], axis=1).tobytes()
