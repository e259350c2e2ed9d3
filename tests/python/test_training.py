"""Training with every option: the same bytes however often it is stopped, and what is written."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

import striate as st
from devices import host
from striate import data, models, train
from striate.data import transforms
from striate.train.card import sha256
from striate.train.losses import Mixing

EVERYTHING = {
    "schedule": "cosine",
    "warmup_epochs": 0.5,
    "lr_backbone": 0.002,
    "bias_decay": False,
    "clip_norm": 0.5,
    "label_smoothing": 0.1,
    "mixup": 0.4,
    "ema": 0.9,
    "augment": True,
    "size": 12,
}


# What a step computes on the device alone: on cuda these runs replay captured steps.
PLAIN = {"clip_norm": None, "mixup": 0.0, "ema": 0.0}


def images(count: int, size: int = 12) -> data.ArrayDataset:
    """Two classes, told apart by their colour, moved and mirrored at random."""
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 2
    pixels = rng.integers(0, 100, (count, 3, size, size), dtype=np.uint8)
    pixels[labels == 1, 0] += 100
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=1),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )
    dataset = data.ArrayDataset(pixels, labels, transform)
    dataset.classes = ("dark", "red")
    return dataset


def settings(**options) -> train.Settings:
    chosen = {"epochs": 3, "batch_size": 8, "lr": 0.02, **EVERYTHING, **options}
    return train.recipe("resnet20", "cifar10", **chosen)


LEARNT, HELD_OUT = images(44), images(20)


def run(out, chosen, *, stop_at=(), threads=2, device="cpu") -> train.Trainer:
    """A run to the end; it is stopped after the steps of ``stop_at`` and resumed each time."""
    st.set_num_threads(threads)
    trainer = train.Trainer(chosen, LEARNT, device=device)
    for epoch, step in stop_at:

        def stop(progress, epoch=epoch, step=step, trainer=trainer):
            trainer.stop_requested |= (progress.epoch, progress.step) == (epoch, step)

        while not trainer.stop_requested:
            trainer.stop_requested = False
            report = train.fit(trainer, HELD_OUT, out, bar=lambda *_: Bar(stop))
            assert report is None
        trainer = train.Trainer(chosen, LEARNT, device=device)
        trainer.load(out)
    assert train.fit(trainer, HELD_OUT, out) is not None
    return trainer


class Bar:
    def __init__(self, on_step):
        self.on_step = on_step

    def __enter__(self):
        return self.on_step

    def __exit__(self, *_):
        pass


def written(out) -> dict[str, bytes]:
    files = train.Files(out)
    paths = (files.last, files.best, files.csv, files.jsonl, files.card)
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    "options",
    [
        {},
        PLAIN,
        {"optimizer": "adamw"},
        {"schedule": "one-cycle", "warmup_epochs": 0.0},
        {"freeze": "until=layer1"},
        {"freeze": "backbone", "augment": False, "lr_backbone": None},
    ],
    ids=str,
)
def test_stopped_runs_end_with_the_same_bytes(tmp_path, restore_threads, options, device):
    chosen = settings(**options)
    run(tmp_path / "run.safetensors", chosen, device=device)
    whole = written(tmp_path / "run.safetensors")
    (tmp_path / "again").mkdir()
    # In the first epoch, in a warm-up; at the last step of an epoch; in the last epoch.
    stops = [(0, 2), (1, 6), (2, 1)]
    again = tmp_path / "again" / "run.safetensors"
    run(again, chosen, stop_at=stops, threads=1, device=device)
    assert written(again) == whole


@pytest.mark.parametrize(
    "option", [name for name in EVERYTHING if name not in ("size", "schedule")]
)
def test_each_option_matters(tmp_path, option):
    usual = {"warmup_epochs": 0.0, "lr_backbone": None, "bias_decay": True, "clip_norm": None}
    without = usual.get(option, 0.0) if option != "augment" else None
    if option == "augment":
        # It is the data set's transform that draws.
        assert train.image_transform("resnet20", "cifar10", augment=True).random
        assert not train.image_transform("resnet20", "cifar10").random
        return
    weights = []
    for chosen in (settings(epochs=1), settings(epochs=1, **{option: without})):
        trainer = train.Trainer(chosen, LEARNT)
        trainer.run_epoch()
        weights.append(trainer.evaluated_model.conv1.weight.detach().numpy().tobytes())
    assert weights[0] != weights[1]


def test_files_of_a_run(tmp_path):
    out = tmp_path / "deep" / "run.safetensors"
    chosen = settings(epochs=4)
    trainer = run(out, chosen)
    files = train.Files(out)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "run.best.safetensors", "run.csv", "run.jsonl", "run.md", "run.safetensors",
    ]  # fmt: skip

    rows = [json.loads(line) for line in files.jsonl.read_text().splitlines()]
    assert rows == trainer.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    with files.csv.open() as file:
        table = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert table == rows
    assert rows[-1]["lr"] < rows[0]["lr"]

    # The last checkpoint and the best one give the figures that the log says.
    best = max(rows, key=lambda row: row["test_accuracy"])
    for path, row in ((files.last, rows[-1]), (files.best, best)):
        model, stored = train.load_model(path)
        assert stored == chosen
        result = train.evaluate(model, HELD_OUT)
        assert result.accuracy == row["test_accuracy"]
        assert result.loss == row["test_loss"]
        assert train.read_checkpoint(path).classes == ["dark", "red"]

    card = files.card.read_text()
    for path in (files.last, files.best):
        assert f"| {path.name} | {sha256(path)} |" in card
    command = card.split("```sh\n")[1].split("\n```")[0]
    for word in ("--ema 0.9", "--no-bias-decay", "--mixup 0.4", "--warmup-epochs 0.5", "--size 12"):
        assert word in command
    assert "--augment" not in command  # the recipe's
    assert f"| best: {best['epoch']} | {best['test_accuracy']:.2%} |" in card


def test_command_of_the_card_gives_the_same_settings(tmp_path):
    from striate.cli import train as command
    from striate.cli.main import _parser

    for options in ({}, {"optimizer": "adamw"}, {"freeze": "backbone", **BACKBONE}):
        chosen = settings(epochs=1, **options)
        run(tmp_path / "run.safetensors", chosen)
        card = (tmp_path / "run.md").read_text()
        words = card.split("```sh\n")[1].split("\n```")[0].split()
        arguments = _parser().parse_args(words[1:])
        assert command._settings(arguments) == chosen


BACKBONE = {"augment": False, "lr_backbone": None}


def test_resuming_another_run_changes_nothing(tmp_path):
    out = tmp_path / "run.safetensors"
    run(out, settings(epochs=1))
    other_classes = images(44)
    other_classes.classes = ("dark", "blue")
    cases = [
        (settings(epochs=1, mixup=0.0), LEARNT, r"expected mixup 0\.4 as in the checkpoint, got 0"),
        (settings(epochs=2), LEARNT, "expected epochs 1"),
        (settings(epochs=1), other_classes, r"expected classes \['dark', 'red'\]"),
        (settings(epochs=1), images(46), "expected images 44 as in the checkpoint, got 46"),
    ]
    for chosen, dataset, message in cases:
        trainer = train.Trainer(chosen, dataset)
        before = {key: x.numpy().tobytes() for key, x in trainer.model.state_dict().items()}
        with pytest.raises(st.ArgumentError, match=message):
            trainer.load(out)
        after = {key: x.numpy().tobytes() for key, x in trainer.model.state_dict().items()}
        assert after == before
    with pytest.raises(st.ArgumentError, match="holds weights only"):
        train.Trainer(settings(epochs=1), LEARNT).load(train.Files(out).best)


WRONG = {
    "optimizer": ("lion", "optimizer of sgd, adamw, got 'lion'"),
    "schedule": ("linear", "schedule of step, one-cycle, cosine, got 'linear'"),
    "lr": (0.0, "lr above 0, got 0"),
    "lr_backbone": (-1.0, "lr_backbone above 0, got -1"),
    "clip_norm": (-1.0, "clip_norm above 0, got -1"),
    "label_smoothing": (1.0, r"label_smoothing in \[0, 1\), got 1"),
    "mixup": (-0.1, "mixup of at least 0, got -0.1"),
    "ema": (1.0, r"ema in \[0, 1\), got 1"),
    "momentum": (float("nan"), "momentum of at least 0, got nan"),
    "weight_decay": (-1.0, "weight_decay of at least 0"),
    "warmup_epochs": (3.0, "warmup_epochs below the 3 epochs, got 3"),
    "size": (0, "size of at least 1 for resnet20, got 0"),
}


@pytest.mark.parametrize(("option", "value", "message"), [(k, *v) for k, v in WRONG.items()])
def test_wrong_settings(option, value, message):
    with pytest.raises(st.ArgumentError, match=message):
        settings(**{option: value})


def test_settings_that_do_not_go_together():
    with pytest.raises(st.ArgumentError, match="schedule cosine with warmup_epochs, got 'step'"):
        settings(schedule="step")
    with pytest.raises(st.ArgumentError, match="no lr_backbone with freeze=backbone"):
        settings(freeze="backbone", augment=False)
    with pytest.raises(st.ArgumentError, match="size of at least 63 for alexnet, got 32"):
        train.recipe("alexnet", "cifar10", size=32)


def test_recipes_suit_the_model():
    assert train.recipe("resnet20", "cifar10").lr == 0.4
    assert train.recipe("vgg16", "cifar10").lr == 0.01  # no batch norm
    assert train.recipe("resnet20", "cifar10", optimizer="adamw").lr == 1e-3
    assert train.recipe("lenet5", "digits").lr == 0.05
    with pytest.raises(st.ArgumentError, match=r"model of linear_classifier, .*, got 'resnet19'"):
        train.recipe("resnet19", "cifar10")


SHAPES = {
    ("lenet5", "digits", None): (1, 32, 32),
    ("lenet1", "cifar10", None): (3, 28, 28),
    ("mlp", "mnist", None): (1, 28, 28),
    ("linear_classifier", "cifar10", None): (3, 32, 32),
    ("resnet20", "fashion", None): (3, 32, 32),
    ("resnet20", "cifar10", 24): (3, 24, 24),
    ("vgg11", "digits", 48): (3, 48, 48),
    ("resnet18", "cifar10", None): (3, 224, 224),
    ("squeezenet1_1", "folder", 64): (3, 64, 64),
}


@pytest.mark.parametrize(("model", "dataset", "size"), SHAPES)
@pytest.mark.parametrize("augment", [False, True])
def test_images_fit_the_model(model, dataset, size, augment):
    """Of every data set, as the transform makes them; a class's mean shows in each channel."""
    source = train.DATASETS[dataset]
    side = {"digits": 8, "folder": 75}.get(dataset, source.side)
    raw = np.full((1, source.channels, side, side), 200, np.uint8)
    transform = train.image_transform(model, dataset, augment=augment, size=size)
    draw = data.dataset.SampleRandom(0, 0, np.arange(1))
    result = transform(raw, draw) if transform.random else transform(raw)
    assert result.shape[1:] == SHAPES[model, dataset, size]
    assert train.input_shape(model, dataset, size) == SHAPES[model, dataset, size]
    middle = result.shape[-1] // 2
    norm = transforms.IMAGENET_MEAN, transforms.IMAGENET_STD
    mean, std = (source.mean, source.std) if dataset != "folder" else norm
    expected = np.broadcast_to((200 / 255 - np.array(mean)) / np.array(std), result.shape[1])
    np.testing.assert_allclose(result[0, :, middle, middle], expected, rtol=1e-4)


def test_mixing_is_a_function_of_the_step(on):
    x, labels = on.randn(6, 3), on.tensor(np.arange(6) % 3)
    first, again, later = (Mixing(0.3, 6, (1, 2, step)) for step in (4, 4, 5))
    assert first.images(x).tolist() == again.images(x).tolist()
    assert first.images(x).tolist() != later.images(x).tolist()
    assert 0.5 <= first.share <= 1
    partners = host(first.partners)
    expected = first.share * host(x) + (1 - first.share) * host(x)[partners]
    np.testing.assert_allclose(host(first.images(x)), expected, rtol=1e-5)
    log_prob = st.nn.functional.log_softmax(x, 1)
    target = np.eye(3)[host(labels)]
    mixed = first.share * target + (1 - first.share) * target[partners]
    smooth = 0.9 * mixed + 0.1 / 3
    expected_loss = -(smooth * host(log_prob)).sum(1).mean()
    assert first.loss(log_prob, labels, 0.1).item() == pytest.approx(expected_loss, rel=1e-5)


@pytest.mark.parametrize("graph", [False, True])
def test_a_loss_that_is_not_finite_stops_the_run(device, graph):
    chosen = settings(epochs=1, lr=1e30, warmup_epochs=0.0, **PLAIN)
    trainer = train.Trainer(chosen, LEARNT, device=device, graph=graph)
    with pytest.raises(st.Error, match=r"the loss became (nan|inf) in epoch 1, (by )?step \d"):
        trainer.run_epoch()


def test_a_loss_that_is_not_finite_reaches_no_weight_on_the_cpu():
    trainer = train.Trainer(settings(epochs=1), LEARNT)
    before = []

    def poison(model, args):
        before.append([host(p).tobytes() for p in model.parameters()])
        return (args[0] * float("nan"),) if len(before) == 3 else args

    trainer.model.register_forward_pre_hook(poison)
    with pytest.raises(st.Error, match="the loss became nan in epoch 1, step 3"):
        trainer.run_epoch()
    assert [host(p).tobytes() for p in trainer.model.parameters()] == before[-1]


def test_a_loss_that_is_not_finite_reaches_no_file(tmp_path, device):
    """Where it is only found after the step, as in replays and on CUDA."""
    trainer = train.Trainer(settings(epochs=2, **PLAIN), LEARNT, device=device, graph=True)
    path = tmp_path / "run.safetensors"
    trainer.run_epoch()
    trainer.save(path)
    kept = path.read_bytes()
    with st.no_grad():
        trainer.model.conv1.weight.fill_(float("nan"))
    for call in (trainer.run_epoch, lambda: trainer.save(path)):
        with pytest.raises(st.Error, match=r"the loss became nan in epoch 2, by step \d"):
            call()
    assert path.read_bytes() == kept


def test_sums_are_those_of_the_losses(device):
    """What a step adds up on the device, against what each step's own loss says."""
    chosen = settings(epochs=1, **PLAIN)
    trainer = train.Trainer(chosen, LEARNT, device=device)
    seen = []
    inner = trainer.model.forward

    def forward(images):
        scores = inner(images)
        seen.append(host(st.nn.functional.log_softmax(scores, 1)).astype(np.float64))
        return scores

    trainer.model.forward = forward
    trainer._captured = None  # a replay would not call it
    trainer.loader.set_epoch(0)
    labels = [host(batch) for _, batch in trainer.loader]
    progress = trainer.run_epoch()
    smooth, classes = chosen.label_smoothing, 2
    loss = hits = 0.0
    for log_prob, target in zip(seen, labels, strict=True):
        wanted = (1 - smooth) * np.eye(classes)[target] + smooth / classes
        loss -= (wanted * log_prob).sum()
        hits += (log_prob.argmax(1) == target).sum()
    assert progress.loss_sum == pytest.approx(loss, rel=1e-6)
    assert progress.correct == hits
    assert progress.images == sum(map(len, labels))


def test_a_last_batch_of_one_image_is_left_out():
    trainer = train.Trainer(settings(epochs=1, batch_size=43), LEARNT)
    assert trainer.run_epoch().images == 43
    trainer = train.Trainer(settings(epochs=1, batch_size=42), LEARNT)
    assert trainer.run_epoch().images == 44


def test_files_refuse_the_names_of_their_neighbours():
    for ending in ("csv", "jsonl", "md"):
        with pytest.raises(st.ArgumentError, match=f"got runs/x.{ending}"):
            train.Files(f"runs/x.{ending}")


def test_old_checkpoints_can_be_read(tmp_path):
    """They know nothing of the later settings, nor of classes."""
    model = models.lenet5()
    old = {
        "version": 1,
        "settings": {"model": "lenet5", "data": "digits", "epochs": 20, "batch_size": 32,
                     "lr": 0.05, "lr_decay": 0.85, "weight_decay": 0.002, "momentum": 0.9,
                     "seed": 0, "schedule": "step", "augment": False, "freeze": "none"},
        "progress": {"epoch": 20, "step": 0, "images": 0, "correct": 0, "loss_sum": 0.0},
    }  # fmt: skip
    tensors = {f"model.{key}": x for key, x in model.state_dict().items()}
    st.save(tensors, tmp_path / "old.safetensors", metadata={"training": json.dumps(old)})
    loaded, stored = train.load_model(tmp_path / "old.safetensors")
    assert stored == replace(train.recipe("lenet5", "digits"))
    assert loaded.c1.weight.tolist() == model.c1.weight.tolist()
    assert train.read_checkpoint(tmp_path / "old.safetensors").classes == list("0123456789")
