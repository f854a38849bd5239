"""Loader: yields an order's batches on the device, read ahead, with drawn augmentation parameters."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.augment import Augmentation
from pipeline.batch import Batch, RawBatch
from pipeline.clock import CLOCK
from pipeline.engines import Dataset, EngineConfig
from pipeline.engines.resident import ResidentEngine
from pipeline.errors import DataError
from pipeline.loading.assembly import Assembly, End
from pipeline.loading.prefetch import Prefetch
from pipeline.loading.request import OrderLike, Request, checked
from pipeline.resolution import Stage
from pipeline.transfer import resolve_device, side_stream, timer
from pipeline.views import Views


@dataclass(frozen=True, slots=True)
class _Made:
    """A batch, and on CUDA the events around its copies."""

    batch: RawBatch
    copied: tuple[torch.cuda.Event, torch.cuda.Event] | None = None


@dataclass(slots=True)
class LoaderTimes:
    """Seconds spent by a loader so far.

    Attributes
    ----------
    wait
        Time that the consumer waited for a batch to be read and drawn: the loader's stall.
    copy
        Time of copies from the host to a CUDA device, by the device's clock: concurrent with training unless
        the next step waits for them. 0 on the CPU. May lag by the batches in progress.
    """

    wait: float = 0.0
    copy: float = 0.0


class Loader:
    """Yields batches of a data set in a given order.

    Parameters
    ----------
    dataset
        A converted data set (`pipeline.open_dataset`), whose images share one shape; or such a one
        `Multiplied`, whose copies then have ids of their own.
    engine
        How images are read; see `pipeline.ENGINES`.
    batch_size
        Samples per step over all ranks, a multiple of ``world_size``.
    augment
        The augmentation, or `Views` for several ones, whose parameters are drawn for each batch, and which is
        applied to it on the device and on the consumer's clock; None for images as they are stored.
    seed
        Seed of the augmentation, in [0, 2**32).
    device
        Device of the batches; "auto" for CUDA if available, else the CPU.
    rank, world_size
        This process among those that train together. Batch i of rank r is the r-th of ``world_size`` equal
        parts of the global batch i.
    prefetch
        Number of batches to read ahead, if the engine reads in a thread.

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
        engine: EngineConfig | None = None,
        batch_size: int = 128,
        augment: Augmentation | Views | None = None,
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
        self._assembly: Assembly | None = Assembly(dataset, engine or ResidentEngine(), self.device, seed)
        self._copies: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._running: weakref.WeakSet[Prefetch[_Made]] = weakref.WeakSet()

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the images as they are stored; None where they differ."""
        return self._open().shape

    def batches(
        self,
        order: OrderLike,
        start: int = 0,
        *,
        augment: Augmentation | Views | None = None,
        stage: Stage | None = None,
    ) -> Iterator[Batch]:
        """Iterate over an order's augmented batches, each exactly once.

        The last batch may be short; with several ranks its parts differ by up to one sample and may be empty.

        Parameters
        ----------
        start
            Number of the first batch, for resuming: those before it are neither read nor drawn.
        augment
            Augmentation in place of the loader's own: ``augmentation.plain()`` for scoring and evaluation.
        stage
            Resolution and strength of the augmentation; by default images come as they are stored, or as the
            augmentation makes them.

        Raises
        ------
        DataError
            On ids outside of the data set, weights of another length, a start beyond the order's end, and
            images of different shapes that nothing brings to one size.
        CorruptSampleError
            While iterating, when a sample of the batch can't be decoded.
        """
        return _augmented(self.raw_batches(order, start, augment=augment, stage=stage))

    def raw_batches(
        self,
        order: OrderLike,
        start: int = 0,
        *,
        augment: Augmentation | Views | None = None,
        stage: Stage | None = None,
    ) -> Iterator[RawBatch]:
        """Iterate over an order's raw batches, for a loop that times `RawBatch.augment` itself.

        Otherwise as `batches`.
        """
        augment, stage = self.augment if augment is None else augment, stage or Stage()
        views = None if augment is None else Views.of(augment)
        self._open().check(views, stage)
        request = checked(order, self.dataset, views, stage)
        steps = request.steps(self.batch_size)
        if not 0 <= start <= steps:
            raise DataError(f"start must be in [0, {steps}], the batches of this order; got {start}")
        return self._iterate(request, start)

    def reread(self, raw: RawBatch, indices: NDArray[np.int64], stage: Stage) -> RawBatch:
        """Read some samples of a batch once more, at another stage: the same crops of the same images.

        Parameters
        ----------
        indices
            int64[m], into ``raw``.
        """
        begin = CLOCK.now()
        read = self._open().reread(raw, indices, stage)
        self.times.wait += CLOCK.now() - begin
        return read

    def close(self) -> None:
        """End all threads and free the engine's memory; a second call does nothing."""
        for running in list(self._running):
            running.close()
        if self._assembly is not None:
            self._assembly.close()
            self._assembly = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Assembly:
        if self._assembly is None:
            raise DataError("a loader must be open to give batches; this one was closed")
        return self._assembly

    def _iterate(self, request: Request, start: int) -> Iterator[RawBatch]:
        assembly = self._open()
        if not assembly.asynchronous:
            yield from self._consume(self._make(assembly, request, start, None))
            return
        stream = side_stream(self.device)
        ahead = Prefetch(self._make(assembly, request, start, stream), self._prefetch, "loader")
        self._running.add(ahead)
        try:
            yield from self._consume(ahead)
        finally:
            ahead.close()

    def _consume(self, source: Iterator[_Made]) -> Iterator[RawBatch]:
        """Take batches as they are asked for, on the consumer's thread and its current stream."""
        while True:
            begin = CLOCK.now()
            made = next(source, None)
            self.times.wait += CLOCK.now() - begin
            if made is None:
                return
            if made.copied is not None:
                self._receive(made.batch, made.copied)
            batch = made.batch
            del made
            yield batch

    def _receive(self, batch: RawBatch, copied: tuple[torch.cuda.Event, torch.cuda.Event]) -> None:
        """Make the current stream wait for the copies, and keep their memory until it has used it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(copied[1])
        for tensor in batch.tensors():
            # Allocated on the side stream: without this its memory could be given to the next copy while
            # kernels of this step still read it.
            tensor.record_stream(current)
        self._copies.append(copied)
        while self._copies and self._copies[0][1].query():  # type: ignore[no-untyped-call]
            begin, end = self._copies.popleft()
            self.times.copy += begin.elapsed_time(end) / 1e3

    def _make(
        self, assembly: Assembly, request: Request, start: int, stream: torch.cuda.Stream | None
    ) -> Iterator[_Made]:
        """Read, draw and copy batches in sequence; in the prefetching thread if there is one.

        There, a batch is begun before the one ahead of it is waited for.
        """
        begun: End | None = None
        for step in range(start, request.steps(self.batch_size)):
            if self._assembly is None:
                raise DataError("a loader must stay open while its batches are used; it was closed")
            ahead = assembly.begin(request, step, self._part(step, len(request.ids)))
            if begun is not None:
                yield self._end(begun, stream)
            begun = ahead
            if not assembly.asynchronous:
                yield self._end(begun, stream)
                begun = None
        if begun is not None:
            yield self._end(begun, stream)

    def _end(self, begun: End, stream: torch.cuda.Stream | None) -> _Made:
        if self.device.type != "cuda":
            return _Made(begun(lambda: None))
        # The thread's current device and stream are its own; without a side stream, the consumer's.
        with torch.cuda.device(self.device), torch.cuda.stream(stream):
            begin, end = timer(), timer()
            # The two enclose the copies, without the reading and decoding before them.
            batch = begun(begin.record)
            end.record()
        return _Made(batch, (begin, end))

    def _part(self, step: int, count: int) -> slice:
        """Return this rank's part of a global batch."""
        first = step * self.batch_size
        size = min(self.batch_size, count - first)
        low, high = (first + size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return slice(low, high)


def _augmented(raws: Iterator[RawBatch]) -> Iterator[Batch]:
    for raw in raws:
        yield raw.augment()
