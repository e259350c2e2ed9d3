"""Reads the pickles in torch's files without pickle: nothing is imported, called or constructed.

An interpreter of the opcodes that a dictionary of tensors needs. A GLOBAL names one of the few
entries of the tables below or is refused; a REDUCE builds a description (tensors.View), never an
object of the file's choosing. Containers are plain, keys are texts or small integers (hashing a
nested tuple can take exponential time), nothing recurses, and a text is at most 1 MiB.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from striate._core import FormatError
from striate.checkpoint.tensors import ElementType, Storage, View, checked_view, is_size, quote

_MAX_OPCODES = 500_000  # 40 a tensor
_MAX_TEXT = 1 << 20
_MAX_GLOBAL = 256
_MAX_INTEGER_KEY = 1 << 60  # larger ones could be chosen to collide in a dict

_BYTE = ElementType.of("u1")
_STORAGE_TYPES = {
    "torch.DoubleStorage": ElementType.of("f8"),
    "torch.FloatStorage": ElementType.of("f4"),
    "torch.HalfStorage": ElementType.of("f2"),
    "torch.BFloat16Storage": ElementType("<u2", "bfloat16"),
    "torch.LongStorage": ElementType.of("i8"),
    "torch.IntStorage": ElementType.of("i4"),
    "torch.ShortStorage": ElementType.of("i2"),
    "torch.CharStorage": ElementType.of("i1"),
    "torch.ByteStorage": _BYTE,
    "torch.BoolStorage": ElementType("<u1", "bool"),
    "torch.storage.UntypedStorage": _BYTE,
}
# Types without a storage of their own: their tensors view bytes.
_UNTYPED = {"torch.uint16": ElementType.of("u2"), "torch.uint32": ElementType.of("u4")}


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the tables allow, as a value on the stack."""

    text: str


def read_pickle(file: BinaryIO) -> tuple[object, dict[str, Storage]]:
    """The value of the pickle that `file` is at, and the storages that it mentions, by key.

    Values are None, bool, int, float, str, tuple, list, dict, Storage, View and Name.
    """
    machine = Machine(file)
    return machine.run(), machine.storages


def _rebuild_tensor(args: tuple[Any, ...]) -> View:
    """(storage, offset, size, stride, ...): what follows concerns autograd."""
    storage, offset, shape, strides = args[:4]
    if not isinstance(storage, Storage):
        raise FormatError(f"expected a tensor of a storage, got one of {quote(storage)}")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple)):
        raise FormatError("expected a tensor's sizes and strides as tuples")
    return checked_view(storage, offset, shape, strides)


def _rebuild_untyped(args: tuple[Any, ...]) -> View:
    """(storage of bytes, offset, size, stride, requires_grad, hooks, type, ...)."""
    storage, kind = args[0], args[6]
    element = _UNTYPED.get(kind.text) if isinstance(kind, Name) else None
    if element is None:
        raise FormatError(f"expected {' or '.join(_UNTYPED)} of a storage without a type")
    if not isinstance(storage, Storage) or storage.type != _BYTE:
        raise FormatError(f"expected a tensor of a storage of bytes, got {quote(storage)}")
    count, rest = divmod(storage.count, element.stored_size)
    if rest:
        raise FormatError(f"expected whole elements in a storage of {storage.count} bytes")
    return _rebuild_tensor((Storage(storage.key, element, count), *args[1:]))


def _rebuild_parameter(args: tuple[Any, ...]) -> View:
    """(data, requires_grad, hooks)."""
    if not isinstance(args[0], View):
        raise FormatError(f"expected a parameter of a tensor, got one of {quote(args[0])}")
    return args[0]


def _size(args: tuple[Any, ...]) -> tuple[int, ...]:
    (sizes,) = args
    if not isinstance(sizes, tuple) or not all(map(is_size, sizes)):
        raise FormatError("expected torch.Size of a tuple of sizes")
    return sizes


def _ordered_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    """(), or in Python 2's pickles a list of pairs."""
    result: dict[Any, Any] = {}
    for key, value in args[0] if args else ():
        _set_item(result, key, value)
    return result


_CALLS: dict[str, Callable[[tuple[Any, ...]], object]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_untyped,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.Size": _size,
    "collections.OrderedDict": _ordered_dict,
}


def _set_item(target: Any, key: object, value: object) -> None:
    if type(target) is not dict:
        raise FormatError(f"expected a dict to set an item of, got {quote(target)}")
    small = type(key) is int and abs(key) < _MAX_INTEGER_KEY
    if type(key) is not str and not small:
        raise FormatError(f"expected texts or small integers as keys, got {quote(key)}")
    if key in target:
        raise FormatError(f"expected every key once, got {quote(str(key))} twice")
    target[key] = value


class Machine:
    """The interpreter. Subclasses choose the names that a file may use, and what they make."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below the marks
        self._memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self) -> object:
        read, opcodes = self._file.read, _OPCODES
        try:
            for _ in range(_MAX_OPCODES):
                code = read(1)
                if code == b".":
                    (result,) = self._stack
                    if self._marked:
                        raise FormatError("pickle: expected no mark at the end")
                    return result
                operation = opcodes.get(code)
                if operation is None:
                    raise FormatError(f"pickle: refused the opcode {_opcode_name(code)}")
                operation(self)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            # An empty stack, an unset memo entry, a wrong number of arguments, bad UTF-8.
            raise FormatError(f"pickle: malformed: {quote(str(error))}") from None
        raise FormatError(f"pickle: expected at most {_MAX_OPCODES} opcodes")

    def push(self, value: object) -> None:
        self._stack.append(value)

    def take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise FormatError(f"pickle: expected {count} bytes more, got {len(data)}: truncated")
        return data

    def integer(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def text(self, length_size: int) -> None:
        length = self.integer(length_size)
        if length > _MAX_TEXT:
            raise FormatError(f"pickle: expected a text of at most {_MAX_TEXT} bytes, got {length}")
        self.push(self.take(length).decode())

    def protocol(self) -> None:
        version = self.integer(1)
        if not 2 <= version <= 5:
            raise FormatError(f"pickle: expected protocol 2 to 5, got {version}")

    def frame(self) -> None:
        self.integer(8)  # a hint of what to read ahead

    def long(self) -> None:
        self.push(self.integer(self.integer(1), signed=True))

    def real(self) -> None:
        self.push(struct.unpack(">d", self.take(8))[0])

    def mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def tuple_of(self, count: int) -> None:
        if count > len(self._stack):
            raise FormatError("pickle: expected a tuple's items, got an empty stack")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise FormatError(f"pickle: expected a list to append to, got {quote(target)}")
        target.extend(values)

    def set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _set_item(self._stack[-1], key, value)

    def set_items(self, values: list[Any]) -> None:
        for key, value in zip(values[::2], values[1::2], strict=True):
            _set_item(self._stack[-1], key, value)

    def memoize(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise FormatError(f"pickle: expected a name as texts, got {quote(name)}")
        full = f"{module}.{name}"
        if full not in _CALLS and full not in _STORAGE_TYPES and full not in _UNTYPED:
            raise FormatError(f"pickle: refused the name {quote(full)}: only tensors are loaded")
        self.push(Name(full))

    def reduce(self) -> None:
        args, callee = self._stack.pop(), self._stack.pop()
        call = _CALLS.get(callee.text) if isinstance(callee, Name) else None
        if call is None or type(args) is not tuple:
            what = callee.text if isinstance(callee, Name) else callee
            raise FormatError(f"pickle: refused to call {quote(what)}")
        self.push(call(args))

    def build(self) -> None:
        """An OrderedDict's attributes (``_metadata``) are left out."""
        state = self._stack.pop()
        if type(state) is not dict or type(self._stack[-1]) is not dict:
            raise FormatError(f"pickle: refused to set the state of {quote(self._stack[-1])}")

    def persistent_id(self) -> None:
        """('storage', type, key, location, count), and in old files a view, which must be None."""
        fields = self._stack.pop()
        if type(fields) is not tuple or not 5 <= len(fields) <= 6 or fields[0] != "storage":
            raise FormatError("pickle: expected a storage as persistent id")
        _, kind, key, _, count = fields[:5]
        if fields[5:] not in ((), (None,)):
            raise FormatError("pickle: refused a storage that is a view of another")
        if not isinstance(kind, Name) or kind.text not in _STORAGE_TYPES:
            what = kind.text if isinstance(kind, Name) else kind
            raise FormatError(f"pickle: expected the type of a storage, got {quote(what)}")
        if type(key) is not str or not is_size(count):
            raise FormatError("pickle: expected a storage's key as text and its count as a size")
        storage = Storage(key, _STORAGE_TYPES[kind.text], count)
        if self.storages.setdefault(key, storage) != storage:
            raise FormatError(f"pickle: expected one type and count for storage {quote(key)}")
        self.push(storage)

    def line_name(self) -> None:
        lines = [self._file.readline(_MAX_GLOBAL) for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise FormatError(f"pickle: expected names of less than {_MAX_GLOBAL} bytes")
        self.name(*(line[:-1].decode() for line in lines))

    def stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self.name(module, name)


_OPCODES: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": Machine.protocol,
    b"\x95": Machine.frame,
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.integer(1)),
    b"M": lambda m: m.push(m.integer(2)),
    b"J": lambda m: m.push(m.integer(4, signed=True)),
    b"\x8a": Machine.long,
    b"G": Machine.real,
    b"U": lambda m: m.text(1),  # SHORT_BINSTRING and BINSTRING: Python 2's texts
    b"T": lambda m: m.text(4),
    b"\x8c": lambda m: m.text(1),
    b"X": lambda m: m.text(4),
    b"(": Machine.mark,
    b")": lambda m: m.push(()),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"]": lambda m: m.push([]),
    b"a": lambda m: m.extend([m._stack.pop()]),
    b"e": lambda m: m.extend(m.since_mark()),
    b"}": lambda m: m.push({}),
    b"s": Machine.set_item,
    b"u": lambda m: m.set_items(m.since_mark()),
    b"q": lambda m: m.memoize(m.integer(1)),
    b"r": lambda m: m.memoize(m.integer(4)),
    b"\x94": lambda m: m.memoize(len(m._memo)),
    b"h": lambda m: m.recall(m.integer(1)),
    b"j": lambda m: m.recall(m.integer(4)),
    b"c": Machine.line_name,
    b"\x93": Machine.stack_name,
    b"R": lambda m: m.reduce(),  # looked up on the instance: subclasses have their own
    b"b": lambda m: m.build(),
    b"Q": Machine.persistent_id,
}


def _opcode_name(code: bytes) -> str:
    from pickletools import opcodes  # slow to import, and seldom needed

    if not code:
        return "at the file's end: truncated"
    names = (opcode.name for opcode in opcodes if opcode.code == code.decode("latin-1"))
    return next(names, f"0x{code[0]:02x}")
