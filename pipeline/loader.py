"""From an order to batches on the device: this rank's slice, read ahead, with drawn parameters."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment import Chain, HostDraws
from pipeline.batch import Batch
from pipeline.engines import Dataset, EnginePart, Reader
from pipeline.engines.protocol import check_ids
from pipeline.engines.resident import ResidentEngine
from pipeline.errors import DataError
from pipeline.multiplied import Multiplied
from pipeline.prefetch import Prefetch
from pipeline.randomness import Keys, occurrences
from pipeline.transfer import place, resolve_device, side_stream, timer


class OrderLike(Protocol):
    """What the loader needs of an order: ``samplers.Order``, or anything of this shape."""

    @property
    def round(self) -> int:
        """The round's number, from 0."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[n], any length, duplicates allowed."""

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """float32[n], loss multipliers; None means all 1."""


@dataclass(slots=True)
class LoaderTimes:
    """Seconds that a loader has cost so far.

    Attributes
    ----------
    wait
        In which the consumer waited for a batch to be read and drawn. The loader's stall.
    copy
        Of copies from the host to a CUDA device, by the device's clock: beside the training, unless the next
        step waits for them. 0 on the CPU. May lag behind by the batches still under way.
    """

    wait: float = 0.0
    copy: float = 0.0


class Loader:
    """Batches of a data set in whatever order is asked for.

    Parameters
    ----------
    dataset
        A converted data set (`pipeline.open_dataset`), whose images share one shape; or such a one
        `Multiplied`, whose copies then have ids of their own.
    engine
        How images are read; see `pipeline.ENGINES`.
    batch_size
        Samples a step over all ranks, a multiple of ``world_size``.
    augment
        The chain whose parameters are drawn for each batch. The images are given as they were read:
        ``augment.apply(batch)`` augments them, on the device and on the consumer's clock.
    seed
        Of augmentation, in [0, 2**32).
    device
        Where batches go; "auto" for CUDA where there is one, else the CPU.
    rank, world_size
        This process among those that train together. Batch i of rank r is the r-th of ``world_size`` equal
        parts of the global batch i.
    prefetch
        Batches to read ahead, where the engine reads in a thread.

    Attributes
    ----------
    times
        `LoaderTimes` since the loader was made.

    Raises
    ------
    DataError
        On options that can't work, and as the engine's ``open`` does.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        engine: EnginePart | None = None,
        batch_size: int = 128,
        augment: Chain | None = None,
        seed: int = 0,
        device: torch.device | str = "auto",
        rank: int = 0,
        world_size: int = 1,
        prefetch: int = 3,
    ) -> None:
        if world_size < 1 or not 0 <= rank < world_size:
            raise DataError(f"rank must be in [0, world_size); got rank {rank} of {world_size}")
        if batch_size < 1 or batch_size % world_size:
            raise DataError(
                f"batch_size must be a positive multiple of the {world_size} ranks; got {batch_size}"
            )
        if prefetch < 1:
            raise DataError(f"prefetch must be at least 1 batch; got {prefetch}")
        if not 0 <= seed < 1 << 32:
            raise DataError(f"an augmentation seed must be at least 0 and below 2**32; got {seed}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.augment = augment
        self.seed = seed
        self.device = resolve_device(device)
        self.rank = rank
        self.world_size = world_size
        self.times = LoaderTimes()
        self._prefetch = prefetch
        self._multiplied = dataset if isinstance(dataset, Multiplied) else None
        # Engines read, and resident keeps, every image once, however many copies stand in the set.
        stored = dataset if self._multiplied is None else self._multiplied.dataset
        self._reader: Reader | None = (engine or ResidentEngine()).open(stored, self.device)
        self._copies: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._running: weakref.WeakSet[Prefetch[_Made]] = weakref.WeakSet()

    def batches(self, order: OrderLike, start: int = 0, *, plain: bool = False) -> Iterator[Batch]:
        """Iterate over an order's batches, each exactly once.

        ``labels``, ``shares`` and ``owners`` say what the images are once ``augment`` has been applied. The
        last batch may be short; with several ranks its parts differ by up to one sample and may be empty.

        Parameters
        ----------
        start
            Number of the first batch to give, for resuming: those before it are neither read nor drawn.
        plain
            Draw nothing: each image alone with its own label, for scoring and evaluation. A chain without
            parts (``augment.plain()``) normalises them.

        Raises
        ------
        DataError
            On ids outside of the data set, weights of another length, a start beyond the order's end.
        CorruptSampleError
            While iterating, when a sample of the batch can't be decoded.
        """
        if self._reader is None:
            raise DataError("a loader must be open to give batches; this one was closed")
        if order.ids.ndim != 1 or order.ids.dtype.kind not in "iu":
            raise DataError(
                f"an order's ids must be whole numbers in one dimension; got {order.ids.dtype} of shape "
                f"{order.ids.shape}"
            )
        ids = np.ascontiguousarray(order.ids, dtype=np.int64)
        steps = -(-len(ids) // self.batch_size)
        check_ids(ids, self.dataset)
        if order.weights is not None and order.weights.shape != ids.shape:
            raise DataError(
                f"an order's weights must match its {len(ids):,} ids; got shape {order.weights.shape}"
            )
        if not 0 <= start <= steps:
            raise DataError(f"start must be in [0, {steps}], the batches of this order; got {start}")
        chain = None if plain else self.augment
        plan = _Plan(order.round, ids, order.weights, occurrences(ids), start, steps, chain)
        return self._iterate(plan, self._reader)

    def close(self) -> None:
        """End all threads and free the engine's memory; a second call does nothing."""
        for running in list(self._running):
            running.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _iterate(self, plan: _Plan, reader: Reader) -> Iterator[Batch]:
        if not reader.asynchronous:
            yield from self._consume(self._make(plan, reader, None))
            return
        stream = side_stream(self.device)
        ahead = Prefetch(self._make(plan, reader, stream), self._prefetch, "loader")
        self._running.add(ahead)
        try:
            yield from self._consume(ahead)
        finally:
            ahead.close()

    def _consume(self, source: Iterator[_Made]) -> Iterator[Batch]:
        """Take batches as they are asked for, on the consumer's thread and its current stream."""
        while True:
            begin = time.perf_counter()
            made = next(source, None)
            self.times.wait += time.perf_counter() - begin
            if made is None:
                return
            if made.copied is not None:
                self._receive(made.batch, made.copied)
            batch = made.batch
            del made
            yield batch

    def _receive(self, batch: Batch, copied: tuple[torch.cuda.Event, torch.cuda.Event]) -> None:
        """Let the current stream wait for the copies, and keep their memory until it is done with it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(copied[1])
        for tensor in _tensors(batch):
            # Allocated on the side stream: without this its memory could be given to the next copy while
            # kernels of this step still read it.
            tensor.record_stream(current)
        self._copies.append(copied)
        while self._copies and self._copies[0][1].query():  # type: ignore[no-untyped-call]
            begin, end = self._copies.popleft()
            self.times.copy += begin.elapsed_time(end) / 1e3

    def _make(self, plan: _Plan, reader: Reader, stream: torch.cuda.Stream | None) -> Iterator[_Made]:
        """Read, draw and copy one batch after the other; in the prefetching thread where there is one."""
        for step in range(plan.start, plan.steps):
            part = self._part(step, len(plan.ids))
            ids = plan.ids[part].copy()
            copies = None if self._multiplied is None else self._multiplied.copies[ids]
            keys = Keys(self.seed, plan.round, step, ids, plan.occurrences[part], copies=copies)
            draws = _draw(plan.chain, keys, reader)
            weights = None if plan.weights is None else plan.weights[part].astype(np.float32)
            images = reader.read(ids if self._multiplied is None else self._multiplied.stored[ids])
            if self.device.type != "cuda":
                yield _Made(self._place(keys, draws, weights, images))
                continue
            # The thread's current device and stream are its own; without a side stream, the consumer's.
            with torch.cuda.device(self.device), torch.cuda.stream(stream):
                begin, end = timer(), timer()
                begin.record()
                batch = self._place(keys, draws, weights, images)
                end.record()
            yield _Made(batch, (begin, end))

    def _part(self, step: int, count: int) -> slice:
        """This rank's part of a global batch."""
        first = step * self.batch_size
        size = min(self.batch_size, count - first)
        low, high = (first + size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return slice(low, high)

    def _place(
        self, keys: Keys, draws: HostDraws, weights: NDArray[np.float32] | None, images: Tensor
    ) -> Batch:
        owners = keys.ids[draws.partners]
        return Batch(
            round=keys.round,
            step=keys.step,
            ids=keys.ids,
            images=images.to(self.device, non_blocking=True),
            labels=place(self.dataset.labels[owners], self.device),
            shares=place(draws.shares.copy(), self.device),
            owners=owners,
            owner_shares=draws.shares,
            weights=None if weights is None else place(weights, self.device),
            draws=tuple(
                {name: place(array, self.device) for name, array in part.items()} for part in draws.parts
            ),
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """An order, checked, with what its batches need to know of one another."""

    round: int
    ids: NDArray[np.int64]
    weights: NDArray[np.float32] | None
    occurrences: NDArray[np.int64]
    start: int
    steps: int
    chain: Chain | None


@dataclass(frozen=True, slots=True)
class _Made:
    """A batch, and on CUDA the events around its copies."""

    batch: Batch
    copied: tuple[torch.cuda.Event, torch.cuda.Event] | None = None


def _draw(chain: Chain | None, keys: Keys, reader: Reader) -> HostDraws:
    if chain is not None:
        return chain.draw(keys, reader.height, reader.width)
    alone = np.arange(len(keys), dtype=np.int64)[:, None]
    return HostDraws((), alone, np.ones(alone.shape, dtype=np.float32))


def _tensors(batch: Batch) -> Iterator[Tensor]:
    yield from (batch.images, batch.labels, batch.shares)
    if batch.weights is not None:
        yield batch.weights
    for draws in batch.draws:
        yield from draws.values()
