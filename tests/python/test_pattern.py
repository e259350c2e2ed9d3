"""Networks from patterns: the lecture's five, what they expand to, and mistakes."""

from __future__ import annotations

import contextlib
import time

import pytest

import striate as st
from striate import models, nn

GENERAL = "[[CONV → RELU]*N → POOL?]*M → [FC → RELU]*K → FC"


def words(model: nn.Sequential) -> str:
    short = {"Conv2d": "C", "ReLU": "r", "MaxPool2d": "p", "Linear": "f", "Flatten": ""}
    return "".join(short[type(layer).__name__] for layer in model)


@pytest.mark.parametrize(
    ("pattern", "counts", "expected"),
    [
        ("INPUT -> FC", {}, "f"),
        ("INPUT -> CONV -> RELU -> FC", {}, "Crf"),
        ("INPUT -> [CONV -> RELU -> POOL]*2 -> FC -> RELU -> FC", {}, "CrpCrpfrf"),
        (
            "INPUT -> [CONV -> RELU -> CONV -> RELU -> POOL]*3 -> [FC -> RELU]*2 -> FC",
            {},
            "CrCrp" * 3 + "frfrf",
        ),
        (f"INPUT → {GENERAL}", {"N": 2, "M": 2, "K": 1}, "CrCrpCrCrpfrf"),
    ],
)
def test_the_lectures_patterns(pattern, counts, expected):
    model = models.from_pattern(pattern, **counts)
    assert words(model) == expected
    assert model(st.rand((2, 3, 32, 32))).shape == (2, 10)


def test_arrows_case_and_space_do_not_matter():
    model = models.from_pattern(" input→[Conv->RELU] * 2\n -> POOL*1?\t-> fc")
    assert words(model) == "CrCrpf"


def test_numbers_of_repetitions_may_be_zero():
    assert words(models.from_pattern(GENERAL, N=0, M=2, K=0)) == "ppf"


def test_the_optional_is_a_choice():
    def expanded(optional):
        return words(models.from_pattern(GENERAL, optional=optional, N=1, M=3, K=0))

    assert expanded(True) == "CrpCrpCrpf"
    assert expanded(False) == "CrCrCrf"
    assert expanded((False, True, False)) == "CrCrpCrf"
    assert words(models.from_pattern("[CONV? -> RELU]? -> FC", optional=(False,))) == "f"
    assert words(models.from_pattern("[CONV? -> RELU]? -> FC", optional=(True, False))) == "rf"
    for wrong in ((True,), (True,) * 4):
        with pytest.raises(st.ArgumentError, match="choice"):
            expanded(wrong)


def test_names_and_shapes():
    model = models.from_pattern(
        "INPUT -> [CONV -> BN -> RELU -> POOL]*2 -> DROPOUT -> [FC -> BN]*1 -> FC -> SOFTMAX",
        input_shape=(1, 28, 28),
        widths=(4, 6, 20),
        num_classes=7,
    )
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes["conv1.weight"] == (4, 1, 3, 3)
    assert shapes["conv2.weight"] == (6, 4, 3, 3)
    assert shapes["bn2.running_mean"] == (6,)
    assert shapes["fc1.weight"] == (20, 6 * 7 * 7)
    assert shapes["bn3.weight"] == (20,)
    assert shapes["fc2.weight"] == (7, 20)
    assert model(st.rand((2, 1, 28, 28))).shape == (2, 7)


def test_default_widths_double_after_each_pool():
    model = models.from_pattern("[CONV*2 -> POOL]*6 -> FC*2", input_shape=(3, 64, 64))
    outputs = [layer.out_channels for layer in model if isinstance(layer, nn.Conv2d)]
    assert outputs == [32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    assert model.fc1.out_features == 512


def test_features_without_maps():
    model = models.from_pattern("FC -> RELU -> FC", input_shape=(64,), widths=(8,))
    assert model(st.rand((2, 64))).shape == (2, 10)


MISTAKES = {
    "": (1, "the end"),
    "INPUT ->": (9, "the end"),
    "INPUT -> CNOV -> FC": (10, "'CNOV'"),
    "CONV -> INPUT": (9, "INPUT only at the start"),
    "INPUT -> [CONV -> FC": (10, "']'"),
    "CONV]": (5, "']'"),
    "CONV -> []": (10, "']'"),
    "CONV FC": (6, "'FC'"),
    "CONV -> -> FC": (9, "'->'"),
    "CONV $ FC": (6, "'$'"),
    "* CONV": (1, "'*'"),
    "CONV*": (6, "the end"),
    "CONV * N": (8, "'N'"),
    "CONV*-1": (6, "'-'"),
    "CONV*99999999999999999999": (6, "10,000"),
    "[[[[FC]*999]*999]*999]*999": (14, "10,000"),
    "FC -> POOL": (7, "10 features"),
    "POOL*6": (1, "1 x 1"),
}


@pytest.mark.parametrize(("pattern", "expected"), MISTAKES.items(), ids=[*MISTAKES])
def test_mistakes_point_at_the_column(pattern, expected):
    column, fragment = expected
    with pytest.raises(st.ArgumentError) as caught:
        models.from_pattern(pattern)
    message, line, caret = str(caught.value).split("\n")
    assert f"column {column}: " in message
    assert fragment in message
    assert line == "  " + pattern
    assert caret == " " * (column + 1) + "^"


def test_mistakes_on_later_lines():
    with pytest.raises(st.ArgumentError, match=r"line 2, column 4: (?s:.*)\n  -> CNOV\n     \^$"):
        models.from_pattern("CONV\n-> CNOV\n-> FC")


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"widths": (8,)}, "2 positive widths"),
        ({"widths": (8, 8, 8)}, "2 positive widths"),
        ({"widths": (8, 0)}, "2 positive widths"),
        ({"input_shape": (3, 32)}, "input_shape"),
        ({"input_shape": (3, 0, 32)}, "input_shape"),
        ({"num_classes": 0}, "num_classes"),
        ({"N": 2}, "got N"),
    ],
)
def test_mistakes_in_the_options(options, fragment):
    with pytest.raises(st.ArgumentError, match=fragment):
        models.from_pattern("CONV -> FC -> FC", **options)


def test_a_count_must_be_a_number():
    for wrong in (-1, 2.5, "3"):
        with pytest.raises(st.ArgumentError, match="N as a number"):
            models.from_pattern("CONV*N -> FC", N=wrong)


@pytest.mark.parametrize(
    "pattern", ["[" * 50_000 + "FC" + "]" * 50_000, "[" * 50_000, "FC" + "?" * 50_000],
    ids=["deep", "open", "optional"],
)  # fmt: skip
def test_depth_costs_nothing(pattern):
    start = time.perf_counter()
    with contextlib.suppress(st.ArgumentError):
        models.from_pattern(pattern)
    assert time.perf_counter() - start < 5
