"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, overload

from striate.nn.activation import ReLU
from striate.nn.conv import Conv2d
from striate.nn.fusion import FusedConv2d
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm1d, BatchNorm2d, norm_relu
from striate.nn.pooling import MaxPool1d, MaxPool2d, relu_max_pool

_NORMS = (BatchNorm1d, BatchNorm2d)
_POOLS = (MaxPool1d, MaxPool2d)

# What calls one layer, or two that are one op: a batch norm and ReLU, or ReLU and a max-pooling.
_Call = Callable[[Any], Any]


def _calls_of(layers: Sequence[Module]) -> tuple[_Call, ...]:
    calls: list[_Call] = []
    previous: Module | None = None  # the last layer, unless it is half of a pair
    for layer in layers:
        if isinstance(layer, ReLU) and isinstance(previous, _NORMS):
            calls[-1], previous = partial(norm_relu, previous, layer), None
        elif isinstance(layer, _POOLS) and isinstance(previous, ReLU):
            calls[-1], previous = partial(relu_max_pool, previous, layer), None
        else:
            plain = type(layer).__call__ is Module.__call__
            calls.append(layer._call_with if plain else layer)
            previous = layer
    return tuple(calls)


def _run(calls: Sequence[_Call], input: Any) -> Any:
    for call in calls:
        input = call(input)
    return input


class Sequential(Module):
    """Calls modules one after another: ``Sequential(a, b)``, or ``Sequential({"name": a, ...})``
    to name them.
    """

    _layers: tuple[Module, ...] = ()
    _calls: tuple[_Call, ...] = ()

    @overload
    def __init__(self, layers: Mapping[str, Module], /) -> None: ...
    @overload
    def __init__(self, *layers: Module) -> None: ...
    def __init__(self, *layers: Any) -> None:
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        for name, layer in layers[0].items() if named else enumerate(layers):
            self.add_module(str(name), layer)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, Module):
            self._list_layers()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._list_layers()

    def _list_layers(self) -> None:
        """Calls walk tuples, not the attributes."""
        self._layers = tuple(self.children())
        self._calls = _calls_of(self._layers)

    def forward(self, input: Any) -> Any:
        return _run(self._calls, input)

    def forward_features(self, input: Any) -> Any:
        """The layers before the head, which may lie in a Sequential in this one."""
        before, inner, _ = self._around_head()
        input = _run(_calls_of(before), input)
        return input if inner is None else inner.forward_features(input)

    def forward_head(self, features: Any) -> Any:
        _, inner, rest = self._around_head()
        if inner is not None:
            features = inner.forward_head(features)
        return _run(_calls_of(rest), features)

    def features(self, input: Any) -> Any:
        """The same as forward_features()."""
        return self.forward_features(input)

    def _around_head(self) -> tuple[list[Module], Module | None, list[Module]]:
        """The layers before the child that holds the head; that child, unless it is the head
        itself; what follows, then with the head.
        """
        name, _, below = self.head_name().partition(".")
        layers = list(self._layers)
        index = [child for child, _ in self.named_children()].index(name)
        if below:
            return layers[:index], layers[index], layers[index + 1 :]
        return layers[:index], None, layers[index:]

    def fuse(self) -> Module:
        """Folds batch norm and ReLU into the convolution before them; see Module.fuse."""
        fused: dict[str, Module] = {}
        waiting = list(self.named_children())
        while waiting:
            name, layer = waiting.pop(0)
            if not isinstance(layer, Conv2d):
                fused[name] = layer.fuse()
                continue
            norm = waiting[0][1] if waiting else None
            if isinstance(norm, BatchNorm2d) and norm.tracked:
                waiting.pop(0)
            else:
                norm = None
            relu = bool(waiting) and isinstance(waiting[0][1], ReLU)
            if relu:
                waiting.pop(0)
            fused[name] = FusedConv2d(layer, norm, relu)
        return Sequential(fused).eval()

    def append(self, module: Module) -> Sequential:
        self.add_module(str(len(self)), module)
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return self._layers[index]

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers)


class ModuleList(Module):
    """A list of modules, each of which belongs to the network; calling it is left to the user."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        for module in modules:
            self.append(module)
        return self

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(str(range(len(self))[index]), module)

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()


class ModuleDict(Module):
    """Modules by name, each of which belongs to the network."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        for name, module in (modules or {}).items():
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        return dict(self.named_children())[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if hasattr(type(self), name):
            raise KeyError(f"ModuleDict: {name!r} is the name of a method")
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in dict(self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def keys(self) -> list[str]:
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        return list(self.named_children())
