"""The loader: its components alone on a few samples in memory, and all of it on the set as it is."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Augmentation, Loader, RawBatch
from pipeline.augment import HostDraws
from pipeline.crop import Crop, Windows
from pipeline.multiplied import Multiplied
from pipeline.ops.memory import place
from pipeline.randomness import Keys
from pipeline.selected import Selected
from samplers import Order
from tools.profiling.timing import Alone, wait_for
from trainer.session import Session


@dataclass(frozen=True, slots=True)
class _Asked:
    """Specification of a batch.

    Attributes
    ----------
    ids
        int64[n], its ids in the small data set.
    augmentation
        Augmentation whose parameters are drawn.
    size
        Height and width for which they are drawn.
    crop
        Crop made by the engine; None for whole images.
    """

    ids: NDArray[np.int64]
    augmentation: Augmentation
    keys: Keys
    size: tuple[int, int]
    crop: Crop | None


class Loading:
    """The loader's stages for the batches ``raws``, which it gave."""

    def __init__(self, session: Session, raws: Sequence[RawBatch]) -> None:
        self._session = session
        self._raws = raws
        known = np.unique(np.concatenate([raw.ids for raw in raws]))
        pixels = session.selector.stage(session.stage).pixels
        few = Selected(session.data.train, known)
        level = next((level for level in few.levels if pixels is not None and level >= pixels), None)
        self._few = few if level is None else few.at(level)
        self._reader = session.run.engine.open(self._few, session.device)
        self._asked = [self._ask(raw, np.searchsorted(known, raw.ids)) for raw in raws]

    def close(self) -> None:
        """Close the reader of the few samples."""
        self._reader.close()

    @property
    def asynchronous(self) -> bool:
        """Whether the loader reads ahead in a thread."""
        return self._reader.asynchronous

    @property
    def beside(self) -> frozenset[str]:
        """Names of the components that run in the loader's own thread, if it has one."""
        return frozenset({"reading", "draws", "copy"} if self._reader.asynchronous else ())

    @property
    def decodes(self) -> bool:
        """Whether reading a batch includes decoding of JPEGs."""
        return self._reader.crops and bool(self._few.compressed.any())

    def works(self, steps: float) -> list[Alone]:
        """Return the components to time; a batch of the loader serves ``steps`` steps."""
        device = self._session.device
        for asked in self._asked:
            # From now on they are in memory, wherever they came from.
            self._read(asked)
        read, draw = cycle(self._asked), cycle(self._asked)
        works = [
            Alone("reading", lambda: self._read(next(read)), steps, device),
            Alone("draws", lambda: self._draw(next(draw)), steps, device),
        ]
        if device.type == "cuda":
            made = cycle([(self._read(asked), self._draw(asked)) for asked in self._asked])
            works.append(Alone("copy", lambda: self._copy(*next(made)), steps, device))
        return works

    def _ask(self, raw: RawBatch, ids: NDArray[np.int64]) -> _Asked:
        session, view, stage = self._session, raw.views[0], self._session.stage
        train = session.data.train
        augmentation = session.selector.augmentation.at(view.size)
        keys = Keys(
            session.loader.seed,
            raw.cursor.round,
            raw.cursor.step,
            raw.ids,
            raw.cursor.occurrences,
            copies=train.copies[raw.ids] if isinstance(train, Multiplied) else None,
            magnitude=stage.magnitude,
            resolution=stage.resolution,
        )
        height, width = view.images.shape[2:]
        windows = self._windows(augmentation, keys, ids) if view.cropped else None
        crop = None if windows is None else Crop(windows, height, width)
        return _Asked(ids, augmentation, keys, (height, width), crop)

    def _windows(self, augmentation: Augmentation, keys: Keys, ids: NDArray[np.int64]) -> Windows:
        assert augmentation.cropping is not None
        return augmentation.cropping.windows(keys, self._few.heights[ids], self._few.widths[ids])

    def _read(self, asked: _Asked) -> Tensor:
        return self._reader.read(asked.ids, asked.crop)

    def _draw(self, asked: _Asked) -> HostDraws:
        cropped = asked.crop is not None
        if cropped:
            self._windows(asked.augmentation, asked.keys, asked.ids)
        return asked.augmentation.draw(asked.keys, *asked.size, cropped=cropped)

    def _copy(self, images: Tensor, drawn: HostDraws) -> list[Tensor]:
        """Copy images, if pinned rather than on the device already, and draws to a CUDA device."""
        device = self._session.device
        placed = [place(array, device) for draws in drawn.parts for array in draws.values()]
        return [images.to(device, non_blocking=True), *placed]


_AHEAD = 3
"""Batches of a window that aren't timed: the loader reads as many ahead."""

_WINDOW = 0.2
"""Approximate seconds of a window of loading."""


class Whole:
    """Loading alone, of the set's samples in random orders: none comes twice before all have come.

    Parameters
    ----------
    session
        Whose loader it is, or one like it.
    steps
        Training steps that a batch of the loader serves.
    """

    def __init__(self, session: Session, loader: Loader, steps: float) -> None:
        self._session = session
        self._loader = loader
        self._steps = steps
        self._batches = 1
        self._next = self._round = 0

    def __call__(self) -> dict[str, float]:
        """Return seconds per step of a window of loading."""
        return {"loading": self.seconds() / self._steps}

    def seconds(self) -> float:
        """Return seconds per batch of a window."""
        selector = self._session.selector
        stage = selector.stage(self._session.stage)
        order = self._order((_AHEAD + self._batches) * self._loader.batch_size)
        raws = cast(
            "Generator[RawBatch, None, None]",
            self._loader.raw_batches(order, augment=selector.views, stage=stage),
        )
        with closing(raws):
            for _ in islice(raws, _AHEAD):
                pass
            wait_for(self._session.device)
            before = time.perf_counter()
            for _ in raws:
                pass
            wait_for(self._session.device)
            taken = (time.perf_counter() - before) / self._batches
        self._batches = max(1, min(64, round(_WINDOW / taken)))
        return taken

    def _order(self, count: int) -> Order:
        """Return the next samples; a new permutation begins once the set has come."""
        samples = len(self._session.data.train)
        ids = np.empty(count, dtype=np.int64)
        for first in range(0, count, samples):
            part = ids[first : first + samples]
            if self._next + len(part) > samples:
                self._next, self._round = 0, self._round + 1
            whole = np.random.default_rng(self._round).permutation(samples)
            part[:] = whole[self._next : self._next + len(part)]
            self._next += len(part)
        return Order(round=self._round, ids=ids)
