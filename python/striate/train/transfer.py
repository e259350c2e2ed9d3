"""Transfer learning: what a model learned elsewhere, a new last layer, and what may change.

The last layer, or head, is the last Linear or Conv2d of a model: what comes before it, the
backbone, gives features that many tasks can use. (Razavian et al. 2014, Yosinski et al. 2014.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

import striate as st
from striate import data, nn


def head_name(model: nn.Module) -> str:
    """The dotted name of the head."""
    names = [
        name for name, layer in model.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    if not names:
        raise st.ArgumentError(f"head: expected a Linear or Conv2d in {type(model).__name__}")
    return names[-1]


def head(model: nn.Module) -> nn.Module:
    """The last Linear or Conv2d."""
    return dict(model.named_modules())[head_name(model)]


def feature_extractor(model: nn.Module) -> nn.Module:
    """A fused copy of ``model``, in evaluation mode, without its head: its result is the features.
    The head must be a Linear layer, and the last one.
    """
    *above, name = head_name(model).split(".")
    bare = copy.copy(model)
    parent = bare
    for part in above:
        child = copy.copy(getattr(parent, part))
        setattr(parent, part, child)
        parent = child
    if not isinstance(getattr(parent, name), nn.Linear):
        raise st.ArgumentError(
            f"feature_extractor: expected {type(model).__name__} to end in a Linear layer, got "
            f"{type(getattr(parent, name)).__name__}"
        )
    setattr(parent, name, nn.Identity())
    return bare.fuse()


def load_backbone(model: nn.Module, weights: Mapping[str, st.Tensor]) -> None:
    """Copies everything but the head. ShapeError lists what is missing or does not fit."""
    own, prefix = model.state_dict(), f"{head_name(model)}."
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
        last = head(model)
        frozen = [layer for layer in model.modules() if not any(layer.children())]
        frozen = [layer for layer in frozen if layer is not last]
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
    model: nn.Module, dataset: data.Dataset, device: str, batch_size: int = 250
) -> data.TensorDataset:
    """What the backbone makes of each image, and its label, computed once."""
    extractor = feature_extractor(model)
    features, labels = [], []
    with st.no_grad():
        for images, targets in data.DataLoader(dataset, batch_size=batch_size):
            features.append(extractor(images.to(device)).to("cpu").numpy().copy())
            labels.append(targets.numpy().copy())
    return data.TensorDataset(
        st.from_numpy(np.concatenate(features)), st.from_numpy(np.concatenate(labels))
    )
