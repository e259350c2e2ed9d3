"""DataLoader: batches of a data set, in an order that the seed decides."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from striate._core import ArgumentError, Tensor, cat, get_rng_state, stack, tensor
from striate.data.dataset import BatchedDataset, Dataset, Indices

Batch = tuple[Tensor, ...]


class DataLoader:
    """Iterates over a data set in batches: ``for images, labels in DataLoader(dataset, 64)``.

    Shuffling is a function of the seed and the epoch alone. Each iteration takes the next epoch;
    ``set_epoch`` chooses one. Without a ``seed`` that of ``striate.manual_seed`` is used. A
    background thread keeps up to ``prefetch`` batches ready; 0 makes them on demand. With
    ``num_workers`` above 1 as many threads share the samples of each batch, which are the same for
    any number of them.
    """

    def __init__(
        self,
        dataset: Dataset | BatchedDataset,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int | None = None,
        prefetch: int = 2,
        num_workers: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"DataLoader: expected batch_size of at least 1, got {batch_size}")
        if prefetch < 0:
            raise ArgumentError(f"DataLoader: expected prefetch of at least 0, got {prefetch}")
        if num_workers < 0:
            raise ArgumentError(
                f"DataLoader: expected num_workers of at least 0, got {num_workers}"
            )
        self.num_workers = num_workers
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.prefetch = prefetch
        self.epoch = 0
        self._first_batch = 0

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Chooses the epoch, and so the order, of the next iteration, and the batch with which it
        begins: a run that is resumed does not read again what it has seen.
        """
        if not 0 <= first_batch <= len(self):
            raise ArgumentError(
                f"DataLoader: expected first_batch from 0 to {len(self)}, got {first_batch}"
            )
        self.epoch = epoch
        self._first_batch = first_batch

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        seed = get_rng_state()[0] if self.seed is None else self.seed
        epoch, order = self.epoch, self._order(seed)
        batches = self._batches(order, seed, epoch, self._first_batch)
        self.epoch += 1
        self._first_batch = 0
        return _prefetched(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, order: Indices, seed: int, epoch: int, first: int) -> Iterator[Batch]:
        starts = range(first * self.batch_size, len(self) * self.batch_size, self.batch_size)
        pieces = (order[start : start + self.batch_size] for start in starts)
        if self.num_workers < 2:
            for indices in pieces:
                yield self._batch(indices, seed, epoch)
            return
        with ThreadPoolExecutor(self.num_workers, "striate-worker") as workers:
            started: deque[Iterator[Batch]] = deque()
            for indices in pieces:
                shares = np.array_split(indices, min(self.num_workers, len(indices)))
                started.append(workers.map(lambda share: self._batch(share, seed, epoch), shares))
                if len(started) > 1:  # so that no worker waits for the end of a batch
                    yield _joined(started.popleft())
            while started:
                yield _joined(started.popleft())

    def _order(self, seed: int) -> Indices:
        count = len(self.dataset)
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng([seed, self.epoch]).permutation(count)

    def _batch(self, indices: Indices, seed: int, epoch: int) -> Batch:
        if isinstance(self.dataset, BatchedDataset):
            return self.dataset.batch(indices, seed=seed, epoch=epoch)
        samples = [self.dataset[int(index)] for index in indices]
        return tuple(_collate(column) for column in zip(*samples, strict=True))


def _joined(parts: Iterator[Batch]) -> Batch:
    return tuple(cat(list(column)) for column in zip(*parts, strict=True))


def _collate(column: tuple[Any, ...]) -> Tensor:
    """One tensor from the same field of several samples."""
    if isinstance(column[0], Tensor):
        return stack(list(column))
    return tensor(np.stack(column) if isinstance(column[0], np.ndarray) else list(column))


_END = object()


def _prefetched(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """The same batches, made ahead by a thread, which ends with the iteration however that ends."""
    ready: queue.Queue[Any] = queue.Queue(depth)
    stopped = threading.Event()
    worker = threading.Thread(
        target=_produce, args=(batches, ready, stopped), name="striate-loader", daemon=True
    )
    worker.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        while worker.is_alive():  # it may be waiting for room in the queue
            _drain(ready)
            worker.join(timeout=0.01)


def _produce(batches: Iterator[Batch], ready: queue.Queue[Any], stopped: threading.Event) -> None:
    try:
        for batch in batches:
            ready.put(batch)
            if stopped.is_set():
                return
        ready.put(_END)
    except BaseException as error:
        ready.put(error)


def _drain(ready: queue.Queue[Any]) -> None:
    try:
        while True:
            ready.get_nowait()
    except queue.Empty:
        pass
