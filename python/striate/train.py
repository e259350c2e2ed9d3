"""The training loop of ``striate train``, for use from Python as well.

A run is a function of its `Settings` and its data alone: the weights start from the seed, the
order of the images follows from (seed, epoch), and no kernel's result depends on the number of
threads. A checkpoint holds all the rest, so a run that was stopped and resumed ends with the same
bytes as one that was not. The learning rate depends on the epoch and not on the number of epochs;
a finished run can therefore be continued with a larger one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import striate as st
import striate.nn.functional as F
from striate import data, models, nn, optim
from striate.data import transforms

CHECKPOINT_VERSION = 1
"""Of the layout described in docs/file_format.md."""

MODELS = {"lenet1": 28, "lenet5": 32}
"""The models that can be trained here, and the side of the square images that they take."""


@dataclass(frozen=True)
class Settings:
    """All that the result of a run depends on besides the data's files."""

    model: str
    data: str
    epochs: int
    batch_size: int
    lr: float
    lr_decay: float
    """The learning rate of epoch e is lr * lr_decay**e."""
    weight_decay: float = 5e-4
    momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("model", MODELS), ("data", DATASETS)):
            if getattr(self, name) not in known:
                raise st.ArgumentError(
                    f"train: expected {name} of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise st.ArgumentError(
                    f"train: expected {name} of at least {least}, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Source:
    """A data set as `striate train` knows it."""

    make: Callable[..., data.ArrayDataset]
    classes: Sequence[str]
    resize: transforms.Resize | None
    """Before the border that makes up the rest of the model's input."""
    side: int
    """Of the square images, resized."""
    mean: float
    std: float
    recipe: dict[str, Any]
    """What `Settings` holds where the user does not say otherwise."""


# Mean and deviation are those of the training pixels, from 0 to 1. docs/decisions.md has the
# measurements behind the recipes.
DATASETS = {
    "digits": Source(
        make=data.Digits,
        classes=data.Digits.classes,
        resize=transforms.Resize(20),
        side=20,
        mean=0.3053,
        std=0.3760,
        recipe={
            "epochs": 20,
            "batch_size": 32,
            "lr": 0.05,
            "lr_decay": 0.85,
            "weight_decay": 2e-3,
        },
    ),
    "mnist": Source(
        make=data.MNIST,
        classes=data.MNIST.classes,
        resize=None,
        side=28,
        mean=0.1307,
        std=0.3081,
        recipe={
            "epochs": 5,
            "batch_size": 64,
            "lr": 0.04,
            "lr_decay": 0.5,
            "weight_decay": 1e-3,
        },
    ),
    "fashion": Source(
        make=data.FashionMNIST,
        classes=data.FashionMNIST.classes,
        resize=None,
        side=28,
        mean=0.2860,
        std=0.3530,
        recipe={"epochs": 15, "batch_size": 64, "lr": 0.02, "lr_decay": 0.8},
    ),
}


def image_transform(model: str, dataset: str) -> transforms.Compose:
    """From the pixels of a data set to what a model takes."""
    source = DATASETS[dataset]
    return transforms.Compose(
        [
            *([] if source.resize is None else [source.resize]),
            transforms.Pad((MODELS[model] - source.side) // 2),
            transforms.ToTensor(),
            transforms.Normalize(source.mean, source.std),
        ]
    )


def load_dataset(
    model: str, dataset: str, directory: str | os.PathLike[str] | None = None, *, train: bool
) -> data.ArrayDataset:
    """The images that a model learns from, or the ones held out.

    `directory` is where the files of mnist and fashion are. Without it they are downloaded, once,
    to the user's cache.
    """
    transform = image_transform(model, dataset)
    make = DATASETS[dataset].make
    if dataset == "digits":
        return make(train=train, transform=transform)
    if directory is not None:
        return make(directory, train=train, transform=transform)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "striate", dataset)
    return make(cache, train=train, transform=transform, download=True)


def recipe(model: str, dataset: str, **overrides: Any) -> Settings:
    """The settings for a model on a data set; the overrides are fields of `Settings`."""
    return Settings(model=model, data=dataset, **(DATASETS[dataset].recipe | overrides))


@dataclass
class Progress:
    """Where a run stands: `step` batches into epoch `epoch`, with that epoch's running sums."""

    epoch: int = 0
    step: int = 0
    images: int = 0
    correct: int = 0
    loss_sum: float = 0.0

    @property
    def loss(self) -> float:
        return self.loss_sum / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.images, 1)


@dataclass(frozen=True)
class Evaluation:
    loss: float
    confusion: npt.NDArray[np.int64]
    """confusion[i, j] counts the images of class i that were taken for class j."""

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))


def evaluate(
    model: nn.Module, dataset: data.ArrayDataset, *, device: str = "cpu", batch_size: int = 500
) -> Evaluation:
    """Loss and confusion matrix over a data set, in eval mode; the model's mode is kept."""
    training = model.training
    model.eval()
    loss_sum = 0.0
    confusion = np.zeros((len(dataset.classes),) * 2, np.int64)
    with st.no_grad():
        for images, labels in data.DataLoader(dataset, batch_size=batch_size):
            log_prob = model(images.to(device))
            loss_sum += F.nll_loss(log_prob, labels.to(device), reduction="sum").item()
            np.add.at(confusion, (labels.numpy(), log_prob.argmax(1).to("cpu").numpy()), 1)
    model.train(training)
    return Evaluation(loss_sum / max(len(dataset), 1), confusion)


class Trainer:
    """SGD with Nesterov momentum on one model, one epoch at a time."""

    def __init__(self, settings: Settings, dataset: data.Dataset, *, device: str = "cpu") -> None:
        st.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        self.model = models.get_model(settings.model).to(device)
        self.optimizer = optim.SGD(
            self.model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        self.scheduler = optim.lr_scheduler.StepLR(
            self.optimizer, step_size=1, gamma=settings.lr_decay
        )
        self.loader = data.DataLoader(
            dataset, batch_size=settings.batch_size, shuffle=True, seed=settings.seed
        )
        self.progress = Progress()
        self.stop_requested = False
        """Set from a signal handler: `run_epoch` returns after the current step."""

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.settings.epochs

    def run_epoch(self, on_step: Callable[[Progress], None] | None = None) -> Progress | None:
        """Trains to the end of the current epoch and returns its sums; None if stopped before."""
        progress = self.progress
        self.model.train()
        self.loader.set_epoch(progress.epoch)
        for step, (images, labels) in enumerate(self.loader):
            if step < progress.step:  # done before the run was resumed
                continue
            self._train_step(images.to(self.device), labels.to(self.device))
            if on_step is not None:
                on_step(progress)
            if self.stop_requested:
                return None
        self.scheduler.step()
        self.progress = Progress(epoch=progress.epoch + 1)
        return progress

    def _train_step(self, images: st.Tensor, labels: st.Tensor) -> None:
        self.optimizer.zero_grad()
        log_prob = self.model(images)
        loss = F.nll_loss(log_prob, labels)
        loss.backward()
        self.optimizer.step()
        count = labels.shape[0]
        hits = log_prob.detach().argmax(1).to("cpu").numpy() == labels.to("cpu").numpy()
        self.progress.step += 1
        self.progress.images += count
        self.progress.correct += int(np.count_nonzero(hits))
        self.progress.loss_sum += loss.item() * count

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint (docs/file_format.md), replacing `path` in one step."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": x for name, x in self.model.state_dict().items()}
        optimizer = self.optimizer.state_dict()
        for index, entry in optimizer["state"].items():
            tensors |= {f"optimizer.{index}.{name}": x for name, x in entry.items()}
        training = {
            "version": CHECKPOINT_VERSION,
            "settings": asdict(self.settings),
            "progress": asdict(self.progress),
            "optimizer": optimizer["param_groups"],
            "scheduler": self.scheduler.state_dict(),
            "rng": st.get_rng_state(),
        }
        st.save(tensors, path, metadata={"training": json.dumps(training, sort_keys=True)})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continues from a checkpoint of a run with the same settings (`epochs` may differ)."""
        tensors, _, progress, state = read_checkpoint(path)
        entries: dict[int, dict[str, st.Tensor]] = {}
        for key, tensor in _below("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = tensor
        self.model.load_state_dict(_below("model.", tensors))
        self.optimizer.load_state_dict({"state": entries, "param_groups": state["optimizer"]})
        self.scheduler.load_state_dict(state["scheduler"])
        self.progress = progress
        st.set_rng_state(tuple(state["rng"]))


def _below(prefix: str, tensors: dict[str, st.Tensor]) -> dict[str, st.Tensor]:
    return {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, st.Tensor], Settings, Progress, dict[str, Any]]:
    """Tensors, settings, progress and the remaining state. Raises FormatError."""
    tensors, metadata = st.load(path, with_metadata=True)
    try:
        state = json.loads(metadata["training"])
        if state["version"] != CHECKPOINT_VERSION:
            raise st.FormatError(
                f"load: {path}: expected checkpoint version {CHECKPOINT_VERSION}, "
                f"got {state['version']}"
            )
        return tensors, Settings(**state["settings"]), Progress(**state["progress"]), state
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise st.FormatError(f"load: {path}: not a training checkpoint: {error!r}") from error


def load_model(path: str | os.PathLike[str]) -> tuple[nn.Module, Settings]:
    """The trained model in a checkpoint, in eval mode, and the settings it was trained with."""
    tensors, settings, _, _ = read_checkpoint(path)
    model = models.get_model(settings.model)
    model.load_state_dict(_below("model.", tensors))
    return model.eval(), settings
