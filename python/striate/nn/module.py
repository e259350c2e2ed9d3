"""Module: a layer, or a network of them, with its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from striate._core import ArgumentError, Device, DType, ShapeError, Tensor, float32
from striate.grad_mode import no_grad
from striate.nn.parameter import Parameter

Self = TypeVar("Self", bound="Module")
ForwardHook = Callable[["Module", tuple[Any, ...], Any], Any]
PreHook = Callable[["Module", tuple[Any, ...]], Any]


class IncompatibleKeys(NamedTuple):
    """The keys that load_state_dict(strict=False) passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class RemovableHandle:
    """What a hook's registration returns; ``remove()`` undoes it."""

    def __init__(self, module: Module, hooks: list[Any], hook: Any) -> None:
        self._module, self._hooks, self._hook = module, hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)
        self._module._hooked = bool(self._module._forward_hooks or self._module._pre_hooks)


class Module:
    """Base of all layers. A subclass sets parameters, buffers and modules as attributes and defines
    ``forward``; whatever is a Parameter or Module belongs to it, in the order of assignment.
    """

    # Attributes live in the instance's own dict and nowhere else: reading one costs no more than
    # in any Python object, and there is no second registry to fall out of step.
    training: bool = True
    _hooked: bool = False
    _keeps_float32: bool = False  # beside bfloat16
    _buffer_names: tuple[str, ...] = ()
    _unsaved_buffers: frozenset[str] = frozenset()
    _forward_hooks: list[ForwardHook] = []  # noqa: RUF012 (empty; instances get lists of their own)
    _pre_hooks: list[PreHook] = []  # noqa: RUF012

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}: forward() is not defined")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            _name_layer(error, self)
            raise

    def _call_with(self, input: Any) -> Any:
        """``self(input)``, as a Sequential calls it: half the time of one through ``*args``."""
        try:
            if self._hooked:
                return self._call_with_hooks((input,), {})
            return self.forward(input)
        except Exception as error:
            _name_layer(error, self)
            raise

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for pre_hook in tuple(self._pre_hooks):
            replaced = pre_hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks):
            replaced = hook(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_hook(self, hook: ForwardHook) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each forward; a result replaces the output."""
        return self._add_hook("_forward_hooks", hook)

    def register_forward_pre_hook(self, hook: PreHook) -> RemovableHandle:
        """Calls ``hook(module, args)`` before each forward; a result replaces the arguments."""
        return self._add_hook("_pre_hooks", hook)

    def _add_hook(self, kind: str, hook: Any) -> RemovableHandle:
        hooks = self.__dict__.setdefault(kind, [])
        hooks.append(hook)
        self._hooked = True
        return RemovableHandle(self, hooks, hook)

    # --- Attributes -----------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(self.__dict__.get(name), Parameter) and not (
            value is None or isinstance(value, Parameter)
        ):
            raise TypeError(
                f"{type(self).__name__}.{name}: expected a Parameter or None, "
                f"got {type(value).__name__}"
            )
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that is moved and, if ``persistent``, saved with the module, but not
        trained.
        """
        if name not in self._buffer_names:
            self._buffer_names = (*self._buffer_names, name)
        if not persistent:
            self._unsaved_buffers |= {name}
        setattr(self, name, tensor)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """The same as assigning the attribute."""
        setattr(self, name, param)

    def add_module(self, name: str, module: Module) -> None:
        """The same as assigning the attribute, for names that are not identifiers."""
        setattr(self, name, module)

    # --- Traversal ------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are attributes of this one."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, depth first."""
        yield from self._walk(prefix, set())

    def _walk(self, prefix: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, module in self.named_children():
            yield from module._walk(_join(prefix, name), seen)

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters by dotted name, each once."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else ((prefix, self),):
            for name, value in module.__dict__.items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(path, name), value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        for path, module in self.named_modules(prefix):
            for name in module._buffer_names:
                if module.__dict__[name] is not None:
                    yield _join(path, name), module.__dict__[name]

    def buffers(self) -> Iterator[Tensor]:
        for _, buffer in self.named_buffers():
            yield buffer

    def apply(self: Self, function: Callable[[Module], object]) -> Self:
        """Calls ``function`` on every module below this one, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # --- State ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by dotted name, module by module; they share their elements."""
        state: dict[str, Tensor] = {}
        self._collect_state("", state)
        return {name: tensor.detach() for name, tensor in state.items()}

    def _collect_state(self, prefix: str, state: dict[str, Tensor]) -> None:
        # Not named_modules(): a module that is shared is saved under each of its names.
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter):
                state[_join(prefix, name)] = value
        for name in self._buffer_names:
            if self.__dict__[name] is not None and name not in self._unsaved_buffers:
                state[_join(prefix, name)] = self.__dict__[name]
        for name, module in self.named_children():
            module._collect_state(_join(prefix, name), state)

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True
    ) -> IncompatibleKeys:
        """Copies tensors by name into the parameters and buffers; returns the names without a
        counterpart.

        All missing, unexpected (unless not ``strict``) and misshapen entries are listed in one
        ShapeError, and then nothing is loaded.
        """
        own: dict[str, Tensor] = {}
        self._collect_state("", own)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        problems = []
        if strict:
            problems += [f"missing key {name}" for name in missing]
            problems += [f"unexpected key {name}" for name in unexpected]
        shared = [name for name in own if name in state_dict]
        problems += [
            f"{name}: expected shape {own[name].shape}, got {tuple(state_dict[name].shape)}"
            for name in shared
            if own[name].shape != tuple(state_dict[name].shape)
        ]
        if problems:
            raise ShapeError(f"load_state_dict: {type(self).__name__}: " + "; ".join(problems))
        with no_grad():
            for name in shared:
                own[name].copy_(state_dict[name])
        return IncompatibleKeys(missing, unexpected)

    # --- Modes ----------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Sets training mode (dropout on, batch statistics used) here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Sets evaluation mode here and below."""
        return self.train(False)

    def fuse(self: Self) -> Module:
        """A copy for inference, in evaluation mode, whose convolutions also do the batch norm,
        residual addition and ReLU that follow them.

        Folded weights are copies, the others are shared. Results differ by rounding alone; layers
        that went into a convolution are gone, and so are their hooks. The copy cannot be trained.
        """
        fused = copy.copy(self)
        for name, child in self.named_children():
            setattr(fused, name, child.fuse())
        return fused.eval()

    # --- Transfer -------------------------------------------------------------------------------

    def forward_features(self, input: Tensor) -> Tensor:
        """What the head sees: (N, F), or maps (N, C, H, W) where it is a convolution.
        ``forward(x)`` is ``forward_head(forward_features(x))``.
        """
        raise NotImplementedError(f"{type(self).__name__}: forward_features() is not defined")

    def forward_head(self, features: Tensor) -> Tensor:
        """The head, and what comes after it."""
        raise NotImplementedError(f"{type(self).__name__}: forward_head() is not defined")

    def head_name(self) -> str:
        """The dotted name of the head, which is the last layer with a matrix or filters."""
        names = [
            name
            for name, layer in self.named_modules()
            if isinstance(weight := getattr(layer, "weight", None), Parameter) and weight.ndim > 1
        ]
        if not names:
            raise ArgumentError(
                f"head_name: expected a Linear or Conv2d in {type(self).__name__}, found none"
            )
        return names[-1]

    def replace_head(self: Self, num_classes: int) -> Self:
        """Puts a new layer with ``num_classes`` outputs, drawn as that kind of layer is by default,
        in the place of the head. Optimizers made before know nothing of it.
        """
        if num_classes < 1:
            raise ArgumentError(
                f"replace_head: expected num_classes of at least 1, got {num_classes}"
            )
        *above, name = self.head_name().split(".")
        parent: Any = self
        for part in above:
            parent = getattr(parent, part)
        old = getattr(parent, name)
        if not hasattr(old, "with_outputs"):
            raise ArgumentError(
                f"replace_head: expected {type(self).__name__} to end in a Linear or Conv2d, got "
                f"{type(old).__name__}"
            )
        new = old.with_outputs(num_classes).to(old.weight.dtype).to(old.weight.device)
        setattr(parent, name, new.train(old.training))
        return self

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forgets the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: Self, target: str | Device | DType) -> Self:
        """Moves parameters and buffers to a device, or floating-point ones to a type, in place.
        Gradients are forgotten. Batch norm, whose statistics need the digits, becomes float32
        where the other layers become bfloat16.
        """
        is_dtype = isinstance(target, DType) or not str(target).startswith(("cpu", "cuda"))
        precise = float32 if is_dtype and str(target).endswith("bfloat16") else target
        with no_grad():
            for module in self.modules():
                own = [module.__dict__[name] for name in module._buffer_names]
                for tensor in (*module.parameters(recurse=False), *own):
                    if tensor is not None and (not is_dtype or tensor.dtype.is_floating_point):
                        to = precise if module._keeps_float32 else target
                        tensor.data = tensor.detach().to(to)
        return self

    def float(self: Self) -> Self:
        return self.to("float32")

    def double(self: Self) -> Self:
        return self.to("float64")

    def bfloat16(self: Self) -> Self:
        return self.to("bfloat16")

    # --- Printing -------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What a subclass shows between the parentheses."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(module).replace("\n", "\n  ")
            for name, module in self.named_children()
        ]
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n".join([f"{type(self).__name__}({extra}", *lines, ")"])


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _name_layer(error: Exception, module: Module) -> None:
    """Prefixes an error's message with the path of the layer that it came from.

    Each call that unwinds adds the part of the path that it knows: ``conv2d: ...`` becomes
    ``3 (Conv2d): conv2d: ...`` and then ``features.3 (Conv2d): conv2d: ...``.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    message, layer, path, inner = getattr(
        error, "_striate_layer", (error.args[0], type(module).__name__, "", module)
    )
    if inner is not module:
        name = next((name for name, part in module.named_modules() if part is inner), "")
        path = ".".join(part for part in (name, path) if part)
    error._striate_layer = (message, layer, path, module)  # type: ignore[attr-defined]
    if path:
        error.args = (f"{path} ({layer}): {message}",)
