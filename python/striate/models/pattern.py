"""Networks written as patterns: ``INPUT -> [[CONV -> RELU]*2 -> POOL]*3 -> [FC -> RELU]*2 -> FC``.

pattern = item { "->" item }                  the arrow may be → as well
item    = ( word | "[" pattern "]" ) { "*" count | "?" }
count   = a number, or a name whose number is a keyword argument of from_pattern()
word    = INPUT CONV RELU POOL FC BN DROPOUT SOFTMAX, in any case; INPUT only at the start
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from striate._core import ArgumentError
from striate.nn.activation import ReLU, Softmax
from striate.nn.containers import Sequential
from striate.nn.conv import Conv2d
from striate.nn.dropout import Dropout
from striate.nn.linear import Flatten, Linear
from striate.nn.module import Module
from striate.nn.normalization import BatchNorm1d, BatchNorm2d
from striate.nn.pooling import MaxPool2d

_WORDS = ("INPUT", "CONV", "RELU", "POOL", "FC", "BN", "DROPOUT", "SOFTMAX")
_ARROWS = ("->", "→")
_TOKEN = re.compile(r"->|\w+|\S")
_MOST_LAYERS = 10_000
_FIRST_WIDTH, _LAST_WIDTH, _HIDDEN_WIDTH = 32, 512, 512


@dataclass(frozen=True)
class _Step:
    """A layer and its place in the text, or a ``?``: the choice whether to keep ``skip`` steps."""

    word: str
    at: int
    skip: int = 0


class _Pattern:
    """The text, for messages that point into it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fail(self, at: int, problem: str) -> NoReturn:
        line_start = self.text.rfind("\n", 0, at) + 1
        line = self.text[line_start:].split("\n", 1)[0].replace("\t", " ")
        caret = " " * (at - line_start) + "^"
        where = f"line {self.text.count(chr(10), 0, at) + 1}, " if "\n" in self.text else ""
        raise ArgumentError(
            f"from_pattern: {where}column {at - line_start + 1}: {problem}\n  {line}\n  {caret}"
        )

    def steps(self, counts: Mapping[str, int]) -> list[_Step]:
        """Every layer in order, repetitions written out. A stack of open brackets rather than
        recursion, so that depth costs nothing.
        """
        open_brackets: list[int] = []
        groups: list[list[list[_Step]]] = [[]]  # of items, for each open bracket and the whole
        tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(self.text)]
        tokens.append(("", len(self.text)))  # the end
        want_item = True
        used = set()
        position = 0
        while position < len(tokens):
            token, at = tokens[position]
            position += 1
            if want_item:
                if token == "[":
                    open_brackets.append(at)
                    groups.append([])
                elif token.isidentifier() or token.isalnum():
                    groups[-1].append([self.layer(token, at)])
                    want_item = False
                else:
                    self.fail(at, f"expected a layer or '[', got {_name(token)}")
            elif token in _ARROWS:
                want_item = True
            elif token == "*":
                symbol, at = tokens[position]
                position += 1
                item = groups[-1][-1]
                count = self.count(symbol, at, counts)
                used.add(symbol)
                self.limit(at, count * len(item))
                groups[-1][-1] = item * count
            elif token == "?":
                item = groups[-1][-1]
                self.limit(at, len(item) + 1)
                groups[-1][-1] = [_Step("?", at, skip=len(item)), *item]
            elif token == "]" and open_brackets:
                open_brackets.pop()
                groups[-2].append(self.joined(groups.pop(), at))
            elif token == "" and not open_brackets:
                break
            elif token == "":
                self.fail(open_brackets[-1], "expected a ']' to this '['")
            else:
                self.fail(at, f"expected '->', '*', '?' or a matching ']', got {_name(token)}")
        if unused := sorted(set(counts) - used):
            raise ArgumentError(
                f"from_pattern: expected counts that the pattern names, got {', '.join(unused)}"
            )
        return self.joined(groups[0], 0)

    def joined(self, items: list[list[_Step]], at: int) -> list[_Step]:
        """One item from those of a bracket, or of the whole."""
        self.limit(at, sum(map(len, items)))
        return items[0] if len(items) == 1 else [step for item in items for step in item]

    def limit(self, at: int, layers: int) -> None:
        if layers > _MOST_LAYERS:
            self.fail(at, f"expected at most {_MOST_LAYERS:,} layers, got {layers:,}")

    def layer(self, token: str, at: int) -> _Step:
        word = token.upper()
        if word not in _WORDS:
            self.fail(at, f"expected one of {', '.join(_WORDS)}, got {token!r}")
        if word == "INPUT" and self.text[:at].strip():
            self.fail(at, "expected INPUT only at the start")
        return _Step(word, at)

    def count(self, token: str, at: int, counts: Mapping[str, int]) -> int:
        count: object = counts.get(token)
        if token.isdecimal():
            count = int(token[:10])
        elif count is None:
            self.fail(
                at, f"expected a number or the name of a keyword argument, got {_name(token)}"
            )
        if not isinstance(count, int) or count < 0:
            self.fail(at, f"expected {token} as a number of at least 0, got {count!r}")
        return count


def _name(token: str) -> str:
    return repr(token) if token else "the end"


def from_pattern(
    pattern: str,
    input_shape: Sequence[int] = (3, 32, 32),
    widths: Sequence[int] | None = None,
    num_classes: int = 10,
    optional: bool | Sequence[bool] = True,
    **counts: int,
) -> Sequential:
    """A network from its pattern; its layers are named conv1, relu1, pool1, fc1 and so on.

    CONV is 3 x 3 with padding 1, POOL a 2 x 2 maximum, FC flattens an image that comes to it, and
    the last FC has ``num_classes`` outputs. ``input_shape`` is (C, H, W), or (features,) where
    there are only FC. ``widths`` lists the channels of each CONV and the outputs of each FC but the
    last, in order, repetitions written out; without it the first CONV has 32, twice as many after
    each POOL up to 512, and the FC 512.

    What has a ``?`` is there if ``optional``, which may also be one choice for each time that a
    ``?`` is reached. Names after ``*`` are keywords: ``from_pattern("INPUT -> [FC -> RELU]*K ->
    FC", K=2)``. A mistake raises an ArgumentError that points at the column.
    """
    source = _Pattern(pattern)
    shape = _shape(input_shape)
    if num_classes < 1:
        raise ArgumentError(f"from_pattern: expected num_classes of at least 1, got {num_classes}")
    steps = _chosen(source.steps(counts), optional)
    weighted = [step for step in steps if step.word in ("CONV", "FC")]
    classifier = next((i for i in reversed(range(len(steps))) if steps[i].word == "FC"), None)
    width = iter(_widths(weighted, widths, classifier is not None))

    doubled = _FIRST_WIDTH
    layers: dict[str, Module] = {}
    numbers = dict.fromkeys(_WORDS, 0)
    for index, step in enumerate(steps):
        word = step.word
        image = len(shape) == 3
        if word in ("CONV", "POOL") and not image:
            source.fail(step.at, f"expected an image before {word}, got {shape[0]} features")
        numbers[word] += 1
        name = f"{word.lower()}{numbers[word]}"
        if word == "CONV":
            channels = next(width) or doubled
            layers[name] = Conv2d(shape[0], channels, 3, padding=1)
            shape = (channels, *shape[1:])
        elif word == "POOL":
            if min(shape[1:]) < 2:
                source.fail(step.at, f"expected an image to pool, got {shape[1]} x {shape[2]}")
            doubled = min(2 * doubled, _LAST_WIDTH)
            layers[name] = MaxPool2d(2)
            shape = (shape[0], shape[1] // 2, shape[2] // 2)
        elif word == "FC":
            if image:
                layers["flatten"] = Flatten()
            features = num_classes if index == classifier else next(width) or _HIDDEN_WIDTH
            layers[name] = Linear(math.prod(shape), features)
            shape = (features,)
        elif word == "BN":
            layers[name] = BatchNorm2d(shape[0]) if image else BatchNorm1d(shape[0])
        elif word == "RELU":
            layers[name] = ReLU()
        elif word == "DROPOUT":
            layers[name] = Dropout()
        elif word == "SOFTMAX":
            layers[name] = Softmax(1)
    return Sequential(layers)


def _shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(input_shape)
    if len(shape) not in (1, 3) or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ArgumentError(
            f"from_pattern: expected input_shape as (C, H, W) or (features,), got {shape}"
        )
    return shape


def _chosen(steps: Sequence[_Step], optional: bool | Sequence[bool]) -> list[_Step]:
    """The layers, those behind a ``?`` only if chosen."""
    choices: Iterator[bool] | None = None if isinstance(optional, bool) else iter(optional)
    chosen: list[_Step] = []
    reached = index = 0
    while index < len(steps):
        step = steps[index]
        index += 1
        if step.word != "?":
            chosen.append(step)
            continue
        reached += 1
        present = optional if choices is None else next(choices, None)
        if present is None:
            raise ArgumentError(
                f"from_pattern: expected a choice for every '?', got {reached - 1} and more to make"
            )
        if not present:
            index += step.skip
    if choices is not None and (rest := len(list(choices))):
        raise ArgumentError(f"from_pattern: expected {reached} choices, got {reached + rest}")
    return chosen


def _widths(
    weighted: Sequence[_Step], widths: Sequence[int] | None, classifies: bool
) -> Sequence[int]:
    """One width for each CONV and each FC but the last; 0 for the default."""
    expected = len(weighted) - classifies
    if widths is None:
        return [0] * expected
    if len(widths) != expected or any(not isinstance(n, int) or n < 1 for n in widths):
        convs = sum(step.word == "CONV" for step in weighted)
        raise ArgumentError(
            f"from_pattern: expected {expected} positive widths ({convs} CONV, {expected - convs} "
            f"FC before the last), got {list(widths)}"
        )
    return widths
