"""Loader: yields an order's batches on the device, read ahead, with drawn augmentation parameters."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.augment import Augmentation
from pipeline.batch import Batch, RawBatch
from pipeline.clock import Spans
from pipeline.device import resolve_device
from pipeline.engines import Dataset, EngineConfig
from pipeline.engines.protocol import check_ids
from pipeline.engines.resident import ResidentEngine
from pipeline.errors import DataError
from pipeline.loading.assembly import Assembly, LoaderTimes, Request
from pipeline.loading.levels import BatchSpec, Levels
from pipeline.multiplied import Multiplied
from pipeline.randomness import occurrences
from pipeline.resolution import Stage
from pipeline.views import Views

_KEPT = 16
"""Specs kept at most: a loop that makes an augmentation per order must not gather them."""


class OrderLike(Protocol):
    """Protocol of orders: ``samplers.Order``, or anything of this shape."""

    @property
    def round(self) -> int:
        """The round's number, from 0."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64[n], any length, duplicates allowed."""

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """float32[n], loss multipliers; None means all 1."""


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
    dataset, engine, batch_size, augment, seed, device, rank, world_size, prefetch
        As given, with defaults resolved.
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
        self.engine = engine or ResidentEngine()
        self.prefetch = prefetch
        self.batch_size = batch_size
        self.augment = augment
        self.seed = seed
        self.device = resolve_device(device)
        self.rank = rank
        self.world_size = world_size
        self.times = LoaderTimes()
        self._samples = len(dataset)
        # Engines read, and resident keeps, every image once, however many copies stand in the set.
        stored = dataset.dataset if isinstance(dataset, Multiplied) else dataset
        self._levels: Levels | None = Levels(stored, self.engine, self.device)
        self._specs: dict[tuple[Views | None, Stage], BatchSpec] = {}
        self._assembly = Assembly(
            dataset,
            self.times,
            batch_size=batch_size,
            seed=seed,
            device=self.device,
            rank=rank,
            world_size=world_size,
            prefetch=prefetch,
        )

    def __repr__(self) -> str:
        rank = "" if self.world_size == 1 else f", rank {self.rank} of {self.world_size}"
        return (
            f"Loader({self._samples:,} samples in batches of {self.batch_size} on {self.device}, augment "
            f"{self.augment!r}{rank})"
        )

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
        augment = self.augment if augment is None else augment
        views = Views((augment,)) if isinstance(augment, Augmentation) else augment
        spec = self._spec(views, stage or Stage())
        request = self._checked(order, spec)
        steps = -(-len(request.ids) // self.batch_size)
        if not 0 <= start <= steps:
            raise DataError(f"start must be in [0, {steps}], the batches of this order; got {start}")
        return self._assembly.batches(request, start)

    def reread(self, raw: RawBatch, indices: NDArray[np.int64], stage: Stage) -> RawBatch:
        """Read some samples of a batch once more, at another stage: the same crops of the same images.

        Parameters
        ----------
        indices
            int64[m], into ``raw``.
        """
        return self._assembly.reread(raw, indices, self._spec(raw.augmentation, stage))

    def record(self, spans: Spans | None) -> None:
        """Record from now on what is done when, also for batches under way; None ends it."""
        self._assembly.spans = spans

    def close(self) -> None:
        """End all threads and free the engine's memory; a second call does nothing."""
        self._assembly.close()
        if self._levels is not None:
            self._levels.close()
            self._levels = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Levels:
        if self._levels is None:
            raise DataError("a loader must be open to give batches; this one was closed")
        return self._levels

    def _spec(self, views: Views | None, stage: Stage) -> BatchSpec:
        """Return how batches are made, settled when it is first asked for."""
        levels, key = self._open(), (views, stage)
        if key not in self._specs:
            if len(self._specs) >= _KEPT:
                self._specs.clear()
            self._specs[key] = levels.spec(views, stage)
        return self._specs[key]

    def _checked(self, order: OrderLike, spec: BatchSpec) -> Request:
        """Return an order as a request.

        Raises
        ------
        DataError
            On ids outside of the data set or of another type or shape, and weights of another length.
        """
        if order.ids.ndim != 1 or order.ids.dtype.kind not in "iu":
            raise DataError(
                f"an order's ids must be whole numbers in one dimension; got {order.ids.dtype} of shape "
                f"{order.ids.shape}"
            )
        ids = np.ascontiguousarray(order.ids, dtype=np.int64)
        if len(ids) and (ids.min() < 0 or ids.max() >= self._samples):
            check_ids(ids, self.dataset)
        if order.weights is not None and order.weights.shape != ids.shape:
            raise DataError(
                f"an order's weights must match its {len(ids):,} ids; got shape {order.weights.shape}"
            )
        return Request(order.round, ids, order.weights, occurrences(ids), spec)


def _augmented(raws: Iterator[RawBatch]) -> Iterator[Batch]:
    for raw in raws:
        yield raw.augment()
