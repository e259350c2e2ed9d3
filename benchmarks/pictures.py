"""Photographs a second: decoding, ImageNet's transforms, and both through the DataLoader.

python benchmarks/pictures.py DIR    (DIR/CLASS/*.jpg)
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from striate import data
from striate.data import transforms
from striate.data.dataset import SampleRandom

_BATCH = 16
_RUNS = 5
_REPEATS = 5  # of the pictures in an epoch of the loader, so that its start weighs little


def rate(count: int, work: Callable[[], object]) -> float:
    """Pictures a second: the median of some runs, after one to warm up."""
    rates = []
    for _ in range(1 + _RUNS):
        start = time.perf_counter()
        work()
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", metavar="DIR", help="one directory of pictures per class")
    directory = parser.parse_args().directory

    files = [path for path, _ in data.ImageFolder(directory).samples]
    pictures = [data.read_image(path)[np.newaxis] for path in files]
    pixels = statistics.median(picture[0, 0].size for picture in pictures)
    print(f"{len(files)} pictures, half of them above {pixels / 1e6:.2f} million pixels")

    def report(title: str, work: Callable[[], object], repeats: int = 1) -> None:
        print(f"{title:32} {rate(repeats * len(files), work):6.0f} pictures/s", flush=True)

    report("decode, one thread", lambda: [data.read_image(path) for path in files])

    for name, transform in (
        ("train", transforms.imagenet_train()),
        ("eval", transforms.imagenet_eval()),
    ):

        def apply(transform: transforms.Compose = transform) -> None:
            for index, picture in enumerate(pictures):
                draw = SampleRandom(0, 0, np.array([index]))
                transform(picture, draw)

        report(f"{name} transform, one thread", apply)
        for workers in (1, 2):
            folder = data.ImageFolder(directory, transform)
            repeated = data.Subset(folder, np.tile(np.arange(len(files)), _REPEATS))
            loader = data.DataLoader(repeated, _BATCH, shuffle=True, seed=0, num_workers=workers)
            title = f"{name}, DataLoader, {workers} worker{'s' * (workers > 1)}"
            report(title, lambda x=loader: deque(x, maxlen=0), _REPEATS)


if __name__ == "__main__":
    main()
