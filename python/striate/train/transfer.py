"""Transfer learning: what a model learned elsewhere, a new last layer, and what may change.

The head is a model's last layer with weights (`nn.Module.head_name`): what comes before it, the
backbone, gives features that many tasks can use. (Razavian et al. 2014, Yosinski et al. 2014.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

import striate as st
from striate import data, nn
from striate.train.checkpoint import below
from striate.train.evaluation import inference_batch
from striate.weights import resolve


def read_weights(path: str | os.PathLike[str]) -> dict[str, st.Tensor]:
    """The weights in any file that `striate.load_checkpoint` reads, checkpoints of `striate train`
    included, or published ones by name (striate.weights).
    """
    tensors = st.load_checkpoint(resolve(path))
    for prefix in ("ema.", "model."):
        if trained := below(prefix, tensors):
            return trained
    return tensors


def load_backbone(model: nn.Module, weights: Mapping[str, st.Tensor]) -> None:
    """Copies everything but the head. ShapeError lists what is missing or does not fit."""
    own, prefix = model.state_dict(), f"{model.head_name()}."
    kept = {key: tensor for key, tensor in own.items() if key.startswith(prefix)}
    given = {key: tensor for key, tensor in weights.items() if not key.startswith(prefix)}
    for key in own:  # counters that older files lack
        if key.endswith("num_batches_tracked"):
            given.setdefault(key, own[key])
    model.load_state_dict(given | kept)


def freeze(model: nn.Module, what: str) -> list[nn.Module]:
    """Keeps parameters from training and returns the modules that hold them, which belong in
    evaluation mode: batch norm then uses, and keeps, the statistics that it came with.

    ``what`` is "none", "backbone" or "until=NAME": the children up to NAME.
    """
    children = list(model.named_children())
    if what == "none":
        return []
    if what == "backbone":
        last = model.head_name()
        frozen = [
            layer
            for name, layer in model.named_modules()
            if name != last and not any(layer.children())
        ]
    else:
        names = [name for name, _ in children]
        until = what.removeprefix("until=")
        if until not in names:
            raise st.ArgumentError(f"freeze: expected a layer of {', '.join(names)}, got {until!r}")
        frozen = [layer for _, layer in children[: names.index(until) + 1]]
    for layer in frozen:
        layer.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise st.ArgumentError(f"freeze: expected something left to train, got freeze={what}")
    return frozen


def cached_features(
    model: nn.Module, dataset: data.Dataset, device: str = "cpu", workers: int = 0
) -> data.TensorDataset:
    """What the backbone makes of each image, and its label, computed once."""
    extractor = model.fuse()
    features, labels = [], []
    batch_size = inference_batch(dataset, most=250)
    with st.no_grad():
        for images, targets in data.DataLoader(dataset, batch_size, num_workers=workers):
            seen = extractor.forward_features(images.to(device))
            features.append(seen.to("cpu").numpy().copy())
            labels.append(targets.numpy().copy())
    return data.TensorDataset(
        st.from_numpy(np.concatenate(features)), st.from_numpy(np.concatenate(labels))
    )
