"""Runs with a bottleneck planted in the real pipeline, and their profiles."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.crop import Crop
from pipeline.engines import Dataset, Reader
from pipeline.engines.resident import ResidentEngine
from samplers import Order, Plan, Uniform
from samplers.uniform import UniformSampler
from tools.profiling.measuring import Profiled, measure
from tools.profiling.whole import session_at
from trainer.data import open_data
from trainer.parallel import World
from trainer.recipe import from_table

NAPS = 0.15
"""Seconds of a planted delay; a step of the smallest network takes some milliseconds."""

_CACHED = 256
"""Samples that the slow source's cache holds."""


class SlowReader:
    """A reader of a slow disk behind a small cache: samples that come again soon are there."""

    def __init__(self, reader: Reader, dataset: Dataset) -> None:
        self._reader = reader
        self._offsets = dataset.offsets
        self._cache: OrderedDict[int, None] = OrderedDict()
        self.height, self.width = reader.height, reader.width
        self.crops, self.asynchronous = reader.crops, True

    @property
    def decoded(self) -> int:
        return self._reader.decoded

    def read(self, ids: NDArray[np.int64], crop: Crop | None = None) -> Tensor:
        offsets = [int(offset) for offset in self._offsets[ids]]
        if any(offset not in self._cache for offset in offsets):
            time.sleep(NAPS)
        for offset in offsets:
            self._cache[offset] = None
            self._cache.move_to_end(offset)
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return self._reader.read(ids, crop)

    def read_views(self, ids: NDArray[np.int64], crops: Any) -> tuple[Tensor, ...]:
        return tuple(self.read(ids, crop) for crop in crops)

    def close(self) -> None:
        self._reader.close()


@dataclass(frozen=True)
class SlowSource:
    """Read from a slow disk."""

    def open(self, dataset: Dataset, device: torch.device) -> SlowReader:
        return SlowReader(ResidentEngine().open(dataset, device), dataset)


class SleepySampler(UniformSampler):
    """Draws, and then sleeps over it."""

    def next_order(self) -> Order:
        order = super().next_order()
        time.sleep(NAPS * len(order.ids) / self.plan.batch_size)
        return order


@dataclass(frozen=True)
class Sleepy(Uniform):
    """A sampler that takes its time."""

    def build(self, plan: Plan) -> SleepySampler:
        return SleepySampler(self, plan)


def profiled(fashion: Path, scratch: Path, **entries: Any) -> Profiled:
    """Profile a run of the smallest network, for as short as it goes."""
    table = {
        "data": "fashion_mnist",
        "data_dir": str(fashion),
        "model": {"name": "resnet8", "width": 1},
        "batch_size": 16,
        "device": "cpu",
        "precision": "fp32",
        **entries,
    }
    run = from_table(table, where="test")
    data = open_data(run, World(), lambda name, done, total: None)
    session = session_at(run, data, 0.5, scratch / "run")
    try:
        return measure(session, 0.5, 0.01)
    finally:
        session.close()
