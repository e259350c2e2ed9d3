"""What a step minimises: cross-entropy, smoothed and mixed as the settings say."""

from __future__ import annotations

import numpy as np

import striate as st
import striate.nn.functional as F
from striate.train.kinds import MODELS
from striate.train.settings import Settings

_MIXUP = 0x6D6978  # keeps its random numbers apart from those of the order


class Mixing:
    """The pairs of one batch, a function of (seed, epoch, step): image i is ``share`` of itself and
    the rest of image ``partners[i]``.
    """

    def __init__(self, alpha: float, count: int, key: tuple[int, int, int]) -> None:
        rng = np.random.default_rng([_MIXUP, *key])
        self.share = max(share := float(rng.beta(alpha, alpha)), 1 - share)
        self.partners = st.tensor(rng.permutation(count))

    def images(self, images: st.Tensor) -> st.Tensor:
        return images * self.share + self._partners_of(images) * (1 - self.share)

    def loss(self, log_prob: st.Tensor, labels: st.Tensor, smoothing: float) -> st.Tensor:
        own = _loss(log_prob, labels, smoothing)
        other = _loss(log_prob, self._partners_of(labels), smoothing)
        return own * self.share + other * (1 - self.share)

    def _partners_of(self, rows: st.Tensor) -> st.Tensor:
        return rows.index_select(0, self.partners.to(rows.device))


def log_probabilities(model: str, scores: st.Tensor) -> st.Tensor:
    return scores if MODELS[model].log_prob else F.log_softmax(scores, 1)


def batch_loss(
    settings: Settings, log_prob: st.Tensor, labels: st.Tensor, mixing: Mixing | None
) -> st.Tensor:
    if mixing is not None:
        return mixing.loss(log_prob, labels, settings.label_smoothing)
    return _loss(log_prob, labels, settings.label_smoothing)


def _loss(log_prob: st.Tensor, labels: st.Tensor, smoothing: float) -> st.Tensor:
    if smoothing == 0:
        return F.nll_loss(log_prob, labels)
    # Log-probabilities are their own log-softmax.
    return F.cross_entropy(log_prob, labels, label_smoothing=smoothing)
