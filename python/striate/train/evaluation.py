"""How good a model is on images that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import striate as st
import striate.nn.functional as F
from striate import data, nn
from striate.train.datasets import ImageData

_BATCH_NUMBERS = 1 << 22
"""Of the images in a batch: 16 MiB. Maps inside a network can be 20 times as large."""


@dataclass(frozen=True)
class Evaluation:
    loss: float
    confusion: npt.NDArray[np.int64]
    """confusion[i, j] counts the images of class i that were taken for class j."""

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))


def inference_batch(dataset: data.Dataset, most: int = 500) -> int:
    """How many images to look at at once: fewer of them where they are large."""
    if not len(dataset):
        return most
    return max(1, min(most, _BATCH_NUMBERS // int(dataset[0][0].numel())))


def evaluate(
    model: nn.Module,
    dataset: ImageData,
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    workers: int = 0,
) -> Evaluation:
    """Loss and confusion matrix over a data set, in eval mode; the model's mode is kept."""
    training = model.training
    model.eval()
    loss_sum = 0.0
    confusion = np.zeros((len(dataset.classes),) * 2, np.int64)
    loader = data.DataLoader(dataset, batch_size or inference_batch(dataset), num_workers=workers)
    with st.no_grad():
        for images, labels in loader:
            scores = model(images.to(device))  # log-probabilities stay what they are
            loss_sum += F.cross_entropy(scores, labels.to(device), reduction="sum").item()
            np.add.at(confusion, (labels.numpy(), scores.argmax(1).to("cpu").numpy()), 1)
    model.train(training)
    return Evaluation(loss_sum / max(len(dataset), 1), confusion)
