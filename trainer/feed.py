"""A feed: yields the batches of a further stream, cycling for as long as a run lasts."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from zlib import crc32

import numpy as np

from pipeline import Augmentation, Batch, Loader, RawBatch
from pipeline.resolution import Stage
from samplers import Order, Plan, SamplingWarning
from samplers.service import Service
from trainer.account import Account, Ledger
from trainer.config import Run
from trainer.data import Data
from trainer.errors import RunError


def open_feeds(
    run: Run,
    data: Data,
    account: Account,
    augment: Augmentation,
    seeds: tuple[int, int],
    open_loader: Callable[..., Loader],
    ranks: int,
) -> tuple[Feed, ...]:
    """Return the feeds of a run's streams, in their initial state.

    Parameters
    ----------
    augment
        Augmentation of every stream's images.
    seeds
        Seeds of orders and of augmentation.

    Raises
    ------
    RunError
        When a stream's set has fewer samples than its batch.
    """
    feeds = []
    for stream in run.streams:
        dataset, size = data.streams[stream.name], stream.batch_size(run.batch_size, ranks)
        if size // ranks % run.accumulate:
            raise RunError(
                f"streams.{stream.name} must give each of {run.accumulate} micro-batches as many images; got "
                f"{size // ranks} per step: change its ratio, or --accumulate"
            )
        if size > len(dataset):
            raise RunError(
                f"streams.{stream.name} must hold a batch of {size:,} images at least; it has "
                f"{len(dataset):,}: lower its ratio, or name a larger set"
            )
        # Streams draw independently of the training set and of each other.
        order_seed, augment_seed = ((seed + crc32(stream.name.encode())) % 2**32 for seed in seeds)
        # Whole epochs over the set.
        loaded = -(-account.most_steps * size // len(dataset)) * len(dataset)
        plan = Plan(len(dataset), batch_size=size, seed=order_seed, loaded=loaded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            sampler = Service(stream.sampler.build(plan), plan)
        loader = open_loader(dataset, batch_size=size, augment=augment, seed=augment_seed)
        feeds.append(Feed(stream.name, sampler, loader))
    return tuple(feeds)


class Feed:
    """A stream's sampler and loader, and their position.

    Its samples are neither in the budget nor fed back: the account counts them as forwarded.

    Parameters
    ----------
    name
        The method's name for the stream.
    sampler, loader
        The loader's batch size is the stream's samples per step; its augmentation is the stream's.
    """

    def __init__(self, name: str, sampler: Service, loader: Loader) -> None:
        self.name = name
        self.loader = loader
        self._sampler = sampler
        self._order: Order | None = None
        self._done = 0
        self._stage: Stage | None = None
        self._batches: Iterator[RawBatch] = iter(())

    @property
    def batch_size(self) -> int:
        """Samples per step, over all ranks."""
        return self.loader.batch_size

    def next(self, stage: Stage) -> RawBatch:
        """Return the next batch of this rank, at a resolution; starts the stream's next order if one ends.

        Raises
        ------
        SamplingError
            When the run takes more steps than its account planned.
        """
        while True:
            if self._order is None:
                self._order, self._done, self._stage = self._sampler.next_order(), 0, None
            if stage != self._stage:
                # Batches read ahead at another resolution are read again.
                self._stage = stage
                self._batches = self.loader.raw_batches(self._order, self._done, stage=stage)
            batch = next(self._batches, None)
            if batch is not None:
                self._done += 1
                return batch
            self._order = None

    def first(self, stage: Stage) -> Batch:
        """Return an augmented batch of the set's first samples, for warm-up; doesn't move the feed."""
        order = Order(round=0, ids=np.arange(self.batch_size, dtype=np.int64))
        return next(self.loader.batches(order, stage=stage))

    def state_dict(self) -> dict[str, Any]:
        """Return all state that later batches depend on."""
        order = self._order
        attributes = (
            None if order is None else {item.name: getattr(order, item.name) for item in fields(order)}
        )
        return {"sampler": self._sampler.state_dict(), "order": attributes, "done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a saved state."""
        self._sampler.load_state_dict(state["sampler"])
        self._order = None if state["order"] is None else Order(**state["order"])
        self._done, self._stage = state["done"], None

    def close(self) -> None:
        """End its threads and free its memory."""
        self._sampler.close()
        self.loader.close()


def next_batches(feeds: Sequence[Feed], stage: Stage, ledger: Ledger) -> dict[str, Batch]:
    """Return the next batch of each stream, augmented, by the streams' names, and count them."""
    batches = {}
    for feed in feeds:
        with ledger.phase("wait"):
            raw = feed.next(stage)
        with ledger.phase("augment"):
            batches[feed.name] = raw.augment()
        ledger.forwarded += feed.batch_size
    return batches
