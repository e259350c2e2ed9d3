"""The loop itself."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import striate as st
from striate import data, nn, optim
from striate._core import capturing
from striate.nn.utils import clip_grad_norm_
from striate.train.checkpoint import (
    CHECKPOINT_VERSION,
    Checkpoint,
    Progress,
    below,
    known_classes,
    read_checkpoint,
)
from striate.train.datasets import input_shape
from striate.train.kinds import build
from striate.train.losses import Mixing, batch_loss, log_probabilities
from striate.train.optimizing import make_optimizer, make_scheduler
from striate.train.settings import Settings
from striate.train.transfer import cached_features, freeze, load_backbone

# Seconds between two looks at the sums of a device that does not compute them at once, for which
# its queue of work runs empty.
_LOOK_EVERY = 0.1


class Trainer:
    """Trains one model as the settings say, one epoch at a time.

    ``weights`` are those of a model of the same kind, whatever its number of classes: everything
    but its last layer, which is drawn anew. They are what `Settings.freeze` keeps as they are;
    ``origin`` says for the model card what they are. ``workers`` threads read the images.
    ``graph`` says whether steps are captured and replayed (`striate.graph`), with the same result;
    by default on CUDA.

    A loss that is not finite raises Error. On the CPU that is before the optimizer's step. On CUDA
    the losses are added up on the device and looked at ten times a second, at the end of the epoch
    and before anything is saved: the weights are lost by then, but no file has them.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: data.Dataset,
        *,
        device: str = "cpu",
        weights: Mapping[str, st.Tensor] | None = None,
        origin: str | None = None,
        workers: int = 0,
        graph: bool | None = None,
    ) -> None:
        st.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        self.origin = origin
        self.workers = workers
        self.classes: Sequence[str] = list(getattr(dataset, "classes", ())) or known_classes(
            settings.data
        )
        shape = input_shape(settings.model, settings.data, settings.size)
        self.model = build(settings.model, len(self.classes), shape).to(device)
        if weights is not None:
            try:
                load_backbone(self.model, weights)
            except st.ShapeError as error:
                given = origin or "others"
                raise st.ShapeError(
                    f"train: expected weights of {settings.model}, got {given}: {error}"
                ) from error
        self._frozen = freeze(self.model, settings.freeze)
        self._dataset = dataset
        self.optimizer = make_optimizer(self.model, settings)
        self._loader: data.DataLoader | None = None
        # Batch norm has nothing by which to normalise a last batch of one image.
        self._drop_last = len(dataset) > settings.batch_size and self._left_over == 1
        steps_per_epoch = len(dataset) // settings.batch_size
        steps_per_epoch += self._left_over > 0 and not self._drop_last
        self.scheduler = make_scheduler(self.optimizer, settings, steps_per_epoch)
        self.ema = optim.EMA(self.model, settings.ema) if settings.ema else None
        # What these compute in Python at each step, a replay would not.
        plain = not settings.mixup and not settings.ema and settings.clip_norm is None
        graph = device != "cpu" if graph is None else graph
        self._captured = st.graph(self._update) if graph and plain else None
        self.progress = Progress()
        # Of losses and of right guesses, ahead of self.progress until they are looked at.
        self._sums = st.zeros(2, dtype="float64", device=device)
        self._looked = time.perf_counter()
        self.history: list[dict[str, float]] = []
        """What `fit` measured after each epoch."""
        self.stop_requested = False
        """Set from a signal handler: `run_epoch` returns after the current step."""

    @property
    def evaluated_model(self) -> nn.Module:
        """The average of the weights if there is one, else the model."""
        return self.model if self.ema is None else self.ema.module

    @property
    def images(self) -> int:
        """In an epoch."""
        return len(self._dataset)

    @property
    def _left_over(self) -> int:
        return len(self._dataset) % self.settings.batch_size

    @property
    def loader(self) -> data.DataLoader:
        """Of images, or with a frozen backbone of its features, which are computed here, once."""
        if self._loader is None:
            dataset, workers = self._dataset, self.workers
            if self.settings.freeze == "backbone":
                dataset = cached_features(self.model, dataset, self.device, workers)
                workers = 0
            self._loader = data.DataLoader(
                dataset,
                batch_size=self.settings.batch_size,
                shuffle=True,
                drop_last=self._drop_last,
                seed=self.settings.seed,
                num_workers=workers,
            )
        return self._loader

    @property
    def finished(self) -> bool:
        return self.progress.epoch >= self.settings.epochs

    def run_epoch(self, on_step: Callable[[Progress], None] | None = None) -> Progress | None:
        """Trains to the end of the current epoch and returns its sums; None if stopped before."""
        progress = self.progress
        self.model.train()
        for module in self._frozen:
            module.eval()
        self.loader.set_epoch(progress.epoch, first_batch=progress.step)  # others are done
        for images, labels in self.loader:
            self._train_step(images.to(self.device), labels.to(self.device))
            if self.device == "cpu" or time.perf_counter() - self._looked > _LOOK_EVERY:
                self._look_at_sums()
            if self.settings.schedule != "step":
                self.scheduler.step()
            if on_step is not None:
                on_step(progress)
            if self.stop_requested:
                self._look_at_sums()
                return None
        self._look_at_sums()
        if self.settings.schedule == "step":
            self.scheduler.step()
        self._go_on_from(Progress(epoch=progress.epoch + 1))
        return progress

    def _train_step(self, images: st.Tensor, labels: st.Tensor) -> None:
        settings, progress = self.settings, self.progress
        count = labels.shape[0]
        mixing = None
        if settings.mixup:
            mixing = Mixing(settings.mixup, count, (settings.seed, progress.epoch, progress.step))
            images = mixing.images(images)
        if self._captured is not None and count == settings.batch_size:
            self._captured(images, labels)
        else:
            self._update(images, labels, mixing)
        progress.step += 1
        progress.images += count
        progress.lr = self._lr

    def _update(self, images: st.Tensor, labels: st.Tensor, mixing: Mixing | None = None) -> None:
        """One step of the optimizer, and the sums of what the model said before it."""
        settings = self.settings
        self.optimizer.zero_grad()
        forward = self.model.forward_head if settings.freeze == "backbone" else self.model
        with st.autocast(enabled=settings.autocast is not None):
            log_prob = log_probabilities(settings.model, forward(images))
            loss = batch_loss(settings, log_prob, labels, mixing)
        loss.backward()
        if self.device == "cpu" and not capturing(images.device):
            self._check_finite(loss.item(), f"step {self.progress.step + 1}")
        if settings.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        hits = (log_prob.detach().argmax(1) == labels).sum()
        self._sums[0].add_(loss.detach().double() * labels.shape[0])
        self._sums[1].add_(hits.double())

    def _look_at_sums(self) -> None:
        """Brings self.progress up to date, for which it waits for the device."""
        loss_sum, correct = self._sums.tolist()
        self._looked = time.perf_counter()
        if self._captured is not None:
            self._captured.check()  # a label out of range would be why
        self._check_finite(loss_sum, f"by step {self.progress.step}")
        self.progress.loss_sum, self.progress.correct = loss_sum, int(correct)

    def _go_on_from(self, progress: Progress) -> None:
        self.progress = progress
        self._sums.copy_(st.tensor([progress.loss_sum, progress.correct], dtype="float64"))

    def _check_finite(self, loss: float, when: str) -> None:
        if not math.isfinite(loss):
            raise st.Error(
                f"train: the loss became {loss} in epoch {self.progress.epoch + 1}, {when}: try a "
                f"learning rate below {self._lr:g}, or clip_norm"
            )

    @property
    def _lr(self) -> float:
        """Of the head, which comes last."""
        rate: float = self.optimizer.param_groups[-1]["lr"]
        return rate

    # --- Checkpoints ----------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint (docs/file_format.md), replacing `path` in one step."""
        tensors = {f"model.{name}": x for name, x in self.model.state_dict().items()}
        optimizer = self.optimizer.state_dict()
        for index, entry in optimizer["state"].items():
            tensors |= {f"optimizer.{index}.{name}": x for name, x in entry.items()}
        training = self._training() | {
            "optimizer": optimizer["param_groups"],
            "scheduler": self.scheduler.state_dict(),
            "rng": st.get_rng_state(),
        }
        if self.ema is not None:
            tensors |= {f"ema.{name}": x for name, x in self.ema.module.state_dict().items()}
            training["ema_updates"] = self.ema.updates
        _write(path, tensors, training)

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint for use, not for resuming: the weights that are evaluated."""
        weights = self.evaluated_model.state_dict()
        _write(path, {f"model.{name}": x for name, x in weights.items()}, self._training())

    def _training(self) -> dict[str, Any]:
        self._look_at_sums()
        return {
            "version": CHECKPOINT_VERSION,
            "settings": asdict(self.settings),
            "progress": asdict(self.progress),
            "classes": list(self.classes),
            "images": self.images,
            "origin": self.origin,
            "history": self.history,
        }

    def load(self, path: str | os.PathLike[str]) -> None:
        """Continues from a checkpoint of a run with the same settings (`epochs` may differ with the
        schedule "step") and the same data. Raises before anything has changed.
        """
        checkpoint = read_checkpoint(path)
        self._check_same_run(path, checkpoint)
        tensors, state = checkpoint.tensors, checkpoint.state
        entries: dict[int, dict[str, st.Tensor]] = {}
        for key, tensor in below("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = tensor
        self.model.load_state_dict(below("model.", tensors))
        if self.ema is not None:
            averages = below("ema.", tensors)
            self.ema.load_state_dict({"module": averages, "updates": state["ema_updates"]})
        self.optimizer.load_state_dict({"state": entries, "param_groups": state["optimizer"]})
        self.scheduler.load_state_dict(state["scheduler"])
        if self._captured is not None:
            self._captured = st.graph(self._update)  # the optimizer's buffers are others now
        self._go_on_from(checkpoint.progress)
        self.history = list(state.get("history", []))
        self.origin = state.get("origin")
        self._loader = None
        st.set_rng_state(tuple(state["rng"]))

    def _check_same_run(self, path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
        if "optimizer" not in checkpoint.state:
            raise st.ArgumentError(
                f"load: {path}: expected a checkpoint to resume, got one that holds weights only"
            )
        theirs = checkpoint.settings
        if self.settings.schedule == "step":
            theirs = replace(theirs, epochs=self.settings.epochs)
        expected = asdict(theirs) | {
            "classes": list(checkpoint.classes),
            "images": checkpoint.state.get("images", self.images),
        }
        got = asdict(self.settings) | {
            "classes": list(self.classes),
            "images": self.images,
        }
        for name, value in expected.items():
            if got[name] != value:
                raise st.ArgumentError(
                    f"load: {path}: expected {name} {value} as in the checkpoint, got {got[name]}"
                )


def _write(
    path: str | os.PathLike[str], tensors: dict[str, st.Tensor], training: dict[str, Any]
) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    st.save(tensors, path, metadata={"training": json.dumps(training, sort_keys=True)})
