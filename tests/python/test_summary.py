"""Inspection: the lecture's tables, operation counts, and receptive fields."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import numpy as np
import pytest

import striate as st
from striate import models, nn
from striate.cli import main
from striate.receptive_field import ReceptiveField

TABLES = Path(__file__).parent / "tables"
IMAGENET = (3, 224, 224)
# Input, total parameters; then in MB: input, forward and backward pass, parameters, total.
SIZES = {
    "lenet5": ((1, 32, 32), "61,706", "0.00", "0.11", "0.24", "0.35"),
    "alexnet": (IMAGENET, "61,100,840", "0.57", "8.31", "233.08", "241.96"),
    "vgg16": (IMAGENET, "138,357,544", "0.57", "218.59", "527.79", "746.96"),
    "resnet50": (IMAGENET, "25,557,032", "0.57", "286.56", "97.49", "384.62"),
}


@functools.cache
def published(name: str, **options: bool) -> st.Summary:
    return st.summary(models.get_model(name, **options), SIZES[name][0])


def lines(table: st.Summary) -> list[str]:
    return [" ".join(line.split()) for line in str(table).splitlines()]


@pytest.mark.parametrize("name", SIZES)
def test_the_lectures_tables(name):
    _, params, *megabytes = SIZES[name]
    table = lines(published(name))
    expected = [" ".join(row.split()) for row in (TABLES / f"{name}.tsv").read_text().splitlines()]
    assert table[1] == "Layer (type) Output Shape Param #"
    assert table[3 : 3 + len(expected)] == expected
    assert [line for line in table[3 + len(expected) :] if ":" in line] == [
        f"Total params: {params}",
        f"Trainable params: {params}",
        "Non-trainable params: 0",
        *(
            f"{title} (MB): {value}"
            for title, value in zip(
                ("Input size", "Forward/backward pass size", "Params size", "Estimated Total Size"),
                megabytes,
                strict=True,
            )
        ),
    ]


@pytest.mark.parametrize(
    ("name", "options", "macs"),
    [
        ("alexnet", {}, 714_188_480),
        ("vgg16", {}, 15_470_264_320),
        ("resnet50", {}, 4_089_184_256),
        ("resnet50", {"v1": True}, 3_857_973_248),
    ],
)
def test_published_multiply_accumulates(name, options, macs):
    assert published(name, **options).total_macs == macs


# As Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", Distill,
# 2019, lists them: of the last map before pooling over all of it.
@pytest.mark.parametrize(
    ("name", "options", "layer", "size"),
    [
        ("alexnet", {}, "features.12", 195),
        ("vgg16", {}, "features.30", 212),
        ("resnet50", {"v1": True}, "layer4", 483),
        ("resnet50", {}, "layer4", 427),
    ],
)
def test_published_receptive_fields(name, options, layer, size):
    table = published(name, **options)
    fields = [row.receptive_field for row in table.rows if row.name.startswith(layer)]
    assert fields[-1].size == (size, size)
    assert fields[-1].stride == (32, 32)


def test_field_of_each_layer():
    model = nn.Sequential(
        nn.Conv2d(1, 2, (3, 5), stride=(2, 1), padding=(1, 0)),
        nn.Conv2d(2, 2, 3, padding="same", dilation=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(2 * 4 * 6, 3),
    )
    fields = [row.receptive_field for row in st.summary(model, (1, 16, 16)).rows]
    assert fields == [
        ReceptiveField(size=(3, 5), stride=(2, 1), offset=(-1, 0)),
        ReceptiveField(size=(11, 9), stride=(2, 1), offset=(-5, -2)),
        ReceptiveField(size=(13, 10), stride=(4, 2), offset=(-5, -2)),
        ReceptiveField(size=(13, 10), stride=(4, 2), offset=(-5, -2)),
        ReceptiveField(size=(25, 20), stride=(4, 2), offset=(-5, -2)),
    ]


def test_branches_have_the_widest_path():
    class Branches(nn.Module):
        def __init__(self):
            self.small, self.large = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 5, padding=2)
            self.last = nn.Conv2d(4, 1, 3)

        def forward(self, x):
            return self.last(st.cat([self.large(x).relu(), self.small(x)], 1))

    fields = [row.receptive_field for row in st.summary(Branches(), (1, 9, 9)).rows]
    assert [field.size[0] for field in fields] == [5, 1, 7]


def test_a_field_that_is_not_constant_is_none():
    model = nn.Sequential(nn.ConvTranspose2d(1, 1, 2, stride=2), nn.ReLU(), nn.Conv2d(1, 1, 3))
    table = st.summary(model, (1, 6, 6), columns=("receptive_field",))
    assert [row.receptive_field for row in table.rows] == [None] * 3
    assert lines(table)[3].endswith("5 - - -")


def ones(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    return model


def test_three_3x3_see_as_much_as_one_7x7_with_fewer_parameters():
    three = ones(nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(3))))
    one = ones(nn.Sequential(nn.Conv2d(8, 8, 7, padding=3, bias=False)))
    tables = [st.summary(model, (8, 21, 21)) for model in (three, one)]
    assert tables[0].rows[-1].receptive_field == tables[1].rows[-1].receptive_field
    assert tables[0].rows[-1].receptive_field.size == (7, 7)
    assert [table.total_params for table in tables] == [27 * 64, 49 * 64]
    # With weights of one the gradient at a pixel is the number of paths: 7 x 7 of them reach it.
    for model, row in ((three, [1, 3, 6, 7, 6, 3, 1]), (one, [1] * 7)):
        measured = st.effective_receptive_field(model, (8, 21, 21))
        expected = np.zeros((21, 21), np.float32)
        expected[7:14, 7:14] = np.outer(row, row)
        np.testing.assert_allclose(measured.gradient.numpy(), expected / expected.max(), rtol=1e-5)
        assert measured.size == pytest.approx(np.sqrt((expected / expected.max() > 0.0455).sum()))


def test_the_effective_field_is_within_the_theoretical():
    model = models.resnet20()
    table = st.summary(model, (3, 32, 32))
    for layer in ("layer1", "layer2.0"):
        rows = [row for row in table.rows if row.name == layer or row.name.startswith(layer + ".")]
        side = rows[-1].receptive_field.size[0]
        measured = st.effective_receptive_field(model, (3, 32, 32), layer)
        assert measured.gradient.shape == (32, 32)
        seen = np.argwhere(measured.gradient.numpy() > 0)
        assert (np.ptp(seen, axis=0) < side).all()
        assert 1 <= measured.size <= side


def test_the_effective_field_leaves_the_model_alone():
    model = models.from_pattern("CONV -> BN -> RELU -> DROPOUT -> FC", (1, 8, 8))
    model.conv1.bias.requires_grad_(False)
    model(st.rand((2, 1, 8, 8))).sum().backward()

    def state():
        tensors = [*model.state_dict().values()]
        tensors += [p.grad for p in model.parameters() if p.grad is not None]
        flags = [p.requires_grad for p in model.parameters()]
        return [t.numpy().tobytes() for t in tensors], flags, model.training, st.get_rng_state()

    before = state()
    first = st.effective_receptive_field(model, (1, 8, 8), "conv1")
    assert state() == before
    second = st.effective_receptive_field(model, (1, 8, 8), "conv1")
    np.testing.assert_array_equal(first.gradient.numpy(), second.gradient.numpy())
    for wrong in ({"layer": "conv9"}, {"layer": "fc1"}, {"samples": 0}, {"input_size": (8, 8)}):
        with pytest.raises(st.ArgumentError):
            st.effective_receptive_field(**{"model": model, "input_size": (1, 8, 8), **wrong})
        assert state() == before


def test_columns_are_named():
    model = models.lenet5()
    table = st.summary(model, (1, 32, 32), columns=("flops", "macs", "activation_bytes"))
    text = lines(table)
    assert text[1] == "Layer (type) Output Shape Param # FLOPs MACs Activation Bytes"
    assert text[3] == "Conv2d-1 [-1, 6, 28, 28] 156 235,200 117,600 18,816"
    assert "Total MACs: 416,520" in text
    with pytest.raises(st.ArgumentError, match="receptive_field, got mac"):
        st.summary(model, (1, 32, 32), columns=("mac",))


def test_columns_add_up():
    table = st.summary(models.resnet20(), (3, 32, 32))
    # The block's output is that of its last ReLU; the identity's is its input.
    rows = {row.layer: row for row in table.rows}
    assert rows["CifarBlock-11"].activation_bytes == rows["Identity-9"].activation_bytes == 0
    assert rows["ReLU-10"].activation_bytes == 4 * 16 * 32 * 32
    plain = json.loads(json.dumps(table.to_dict()))
    assert plain["total_params"] == table.total_params == 269_722
    assert sum(row["macs"] for row in plain["rows"]) == plain["total_macs"]
    assert plain["rows"][0]["receptive_field"]["offset"] == [-1, -1]


def test_a_model_that_needs_an_image_gets_one():
    class Reshaping(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(64, 10)

        def forward(self, x):
            return self.fc(x.reshape(x.shape[0], -1))

    assert st.summary(Reshaping(), (1, 8, 8)).rows[0].output_shape == (-1, 10)


def test_wrong_inputs():
    for size in ((), (3, 0, 32), (3, 32.0, 32)):
        with pytest.raises(st.ArgumentError, match="input_size"):
            st.summary(models.resnet20(), size)
    with pytest.raises(st.ShapeError, match="conv1"):
        st.summary(models.resnet20(), (4, 32, 32))


def test_resnet152_takes_no_time():
    model = models.resnet152()
    start = time.perf_counter()
    table = st.summary(model, IMAGENET)
    assert time.perf_counter() - start < 1
    assert table.total_params == 60_192_808


def test_command_knows_every_model(capsys):
    with pytest.raises(SystemExit):
        main(["summary", "--help"])
    text = capsys.readouterr().out
    assert [name for name in models.list_models() if name not in text] == []


@pytest.mark.parametrize("name", models.list_models())
def test_command(name, capsys):
    assert main(["summary", name, "--columns", "macs,receptive_field", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["model"] == name
    assert result["total_params"] == sum(row["params"] for row in result["rows"])
    assert f"Total MACs: {result['total_macs']:,}" in captured.err


def test_command_with_another_input(capsys):
    assert main(["summary", "resnet20", "--input", "1x28x28"]) == 0
    assert "[-1, 16, 28, 28]" in capsys.readouterr().out
    assert main(["summary", "mlp", "--input", "1,28,28"]) == 0
    assert "78,500" in capsys.readouterr().out  # 784 x 100 + 100
    assert main(["summary", "resnet20", "--columns", "mac"]) == 2
    assert "receptive_field" in capsys.readouterr().err
