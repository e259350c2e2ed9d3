"""The loop itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

import striate as st
import striate.nn.functional as F
from striate import data, models, optim
from striate.train.checkpoint import CHECKPOINT_VERSION, Progress, below, read_checkpoint
from striate.train.datasets import MODELS
from striate.train.settings import Settings
from striate.train.transfer import cached_features, freeze, head, load_backbone


class Trainer:
    """SGD with Nesterov momentum on one model, one epoch at a time.

    ``weights`` are those of a model of the same kind, whatever its number of classes: everything
    but its last layer, which is drawn anew. They are what `Settings.freeze` keeps as they are.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: data.Dataset,
        *,
        device: str = "cpu",
        weights: Mapping[str, st.Tensor] | None = None,
    ) -> None:
        st.manual_seed(settings.seed)
        self.settings = settings
        self.device = device
        self.model = models.get_model(settings.model).to(device)
        if weights is not None:
            load_backbone(self.model, weights)
        self._frozen = freeze(self.model, settings.freeze)
        self._dataset = dataset
        self.optimizer = optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.momentum > 0,
        )
        self._loader: data.DataLoader | None = None
        self.scheduler = self._make_scheduler(-(-len(dataset) // settings.batch_size))
        self.progress = Progress()
        self.stop_requested = False
        """Set from a signal handler: `run_epoch` returns after the current step."""

    def _make_scheduler(self, steps_per_epoch: int) -> optim.lr_scheduler.LRScheduler:
        settings = self.settings
        if settings.schedule == "step":
            return optim.lr_scheduler.StepLR(self.optimizer, step_size=1, gamma=settings.lr_decay)
        return optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            settings.lr,
            epochs=settings.epochs,
            steps_per_epoch=steps_per_epoch,
            cycle_momentum=False,
        )

    @property
    def loader(self) -> data.DataLoader:
        """Of images, or with a frozen backbone of its features, which are computed here, once."""
        if self._loader is None:
            dataset = self._dataset
            if self.settings.freeze == "backbone":
                dataset = cached_features(self.model, dataset, self.device)
            self._loader = data.DataLoader(
                dataset,
                batch_size=self.settings.batch_size,
                shuffle=True,
                seed=self.settings.seed,
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
        self.loader.set_epoch(progress.epoch)
        for step, (images, labels) in enumerate(self.loader):
            if step < progress.step:  # done before the run was resumed
                continue
            self._train_step(images.to(self.device), labels.to(self.device))
            if self.settings.schedule == "one-cycle":
                self.scheduler.step()
            if on_step is not None:
                on_step(progress)
            if self.stop_requested:
                return None
        if self.settings.schedule == "step":
            self.scheduler.step()
        self.progress = Progress(epoch=progress.epoch + 1)
        return progress

    def _train_step(self, images: st.Tensor, labels: st.Tensor) -> None:
        self.optimizer.zero_grad()
        frozen_backbone = self.settings.freeze == "backbone"
        scores = (head(self.model) if frozen_backbone else self.model)(images)
        log_prob = scores if MODELS[self.settings.model].log_prob else F.log_softmax(scores, 1)
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
        for key, tensor in below("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            entries.setdefault(int(index), {})[name] = tensor
        self.model.load_state_dict(below("model.", tensors))
        self.optimizer.load_state_dict({"state": entries, "param_groups": state["optimizer"]})
        self.scheduler.load_state_dict(state["scheduler"])
        self.progress = progress
        st.set_rng_state(tuple(state["rng"]))
