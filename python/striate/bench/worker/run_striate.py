"""Striate's networks, as a user would run them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

import striate as st
import striate.nn.functional as F
from striate import models, nn, optim


def build(
    job: dict[str, Any], x: Any, y: Any
) -> tuple[Callable[[], Any], Callable[[Any], list[float]], Iterable[Any]]:
    """An iteration, what turns its result into numbers, and the model's dropout layers."""
    st.set_num_threads(job["threads"])
    model = models.get_model(job["model"])
    with np.load(job["weights"]) as stored:
        model.load_state_dict({name: st.tensor(stored[name]) for name in stored.files})
    images, labels = st.tensor(x), st.tensor(y)
    autocast = functools.partial(st.autocast, "bfloat16", enabled=job["dtype"] == "bfloat16")

    if job["mode"] == "infer":
        fused = model.eval().fuse()

        def infer() -> st.Tensor:
            with st.no_grad(), autocast():
                scores: st.Tensor = fused(images)
                return scores

        return infer, lambda scores: scores.float().numpy()[:8].ravel().tolist(), ()

    loss_of = F.nll_loss if job["log_probabilities"] else F.cross_entropy
    optimizer = optim.SGD(model.parameters(), lr=job["lr"], momentum=job["momentum"])

    def train() -> st.Tensor:
        optimizer.zero_grad()
        with autocast():
            loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    dropout = [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
    return train, lambda loss: [loss.item()], dropout
