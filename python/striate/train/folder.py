"""The user's own photographs: which are learnt from, and which are held out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

import striate as st
from striate import data

HELD_OUT = 0.2
"""Share of each class that is held out where the directory does not say."""


def load_folder(
    directory: str | os.PathLike[str],
    *,
    train: bool,
    transform: data.dataset.Transform | None = None,
) -> data.Subset:
    """``DIR/train/CLASS/*.jpg`` or ``DIR/val/CLASS/*.jpg``; if these two are not there,
    ``DIR/CLASS/*.jpg``, of which a fifth of each class is held out.

    Which ones, the files' names decide, by their hashes: the split is the same on every machine
    and in every run, and files that are added later leave most others where they were.
    """
    root = Path(directory)
    if not root.is_dir():
        raise data.DataNotFoundError(f"folder: expected a directory, got {root}")
    learnt, held_out = root / "train", root / "val"
    if learnt.is_dir() and held_out.is_dir():
        chosen, other = (learnt, held_out) if train else (held_out, learnt)
        images = data.ImageFolder(chosen, transform)
        classes = sorted(entry.name for entry in other.glob("*") if entry.is_dir())
        if images.classes != classes:
            different = ", ".join(sorted(set(classes) ^ set(images.classes)))
            raise st.ArgumentError(
                f"folder: expected the same classes in {learnt} and {held_out}, got {different} "
                "in one of them only"
            )
        indices = np.arange(len(images))
    else:
        images = data.ImageFolder(root, transform)
        held = _held_out(images)
        indices = np.flatnonzero(~held if train else held)
    if len(images.classes) < 2:
        raise st.ArgumentError(
            f"folder: expected directories of at least two classes in {root}, or such in its train "
            f"and val, got {' '.join(images.classes)}"
        )
    if not len(indices):
        raise data.DataNotFoundError(
            f"folder: expected at least two images of some class in {root}, of which to hold out "
            "one, found none"
        )
    return data.Subset(images, indices)


def _held_out(images: data.ImageFolder) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    names = [file.relative_to(images.root).as_posix() for file, _ in images.samples]
    ranks = np.array([hashlib.sha256(name.encode()).hexdigest() for name in names])
    held = np.zeros(len(names), bool)
    for label in range(len(images.classes)):
        (members,) = np.nonzero(images.labels == label)
        count = max(round(HELD_OUT * len(members)), 1) if len(members) > 1 else 0
        held[members[np.argsort(ranks[members])[:count]]] = True
    return held
