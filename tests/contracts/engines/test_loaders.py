"""Every engine in a loader: batches in order, errors at their turn, no thread left."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_sets import SAMPLES, assert_same, every_engine, every_store, flip_byte, make
from numpy.typing import NDArray

from pipeline import CorruptSampleError, EngineConfig, Loader
from pipeline.formats import Converted, open_dataset


@dataclass(frozen=True)
class Order:
    ids: NDArray[np.int64]
    round: int = 0
    weights: NDArray[np.float32] | None = None


@every_engine
@every_store
def test_a_loader_gives_every_batch_once_and_in_order(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    order = Order(np.random.default_rng(3).integers(0, SAMPLES, 101), round=4)
    with Loader(data[store], engine=engine, batch_size=8, device="cpu") as loader:
        batches = list(loader.raw_batches(order))
        resumed = list(loader.raw_batches(order, start=7))
    assert [batch.cursor.step for batch in batches] == list(range(13))
    assert {batch.cursor.round for batch in batches} == {4}
    assert np.concatenate([batch.ids for batch in batches]).tolist() == order.ids.tolist()
    for batch in batches:
        assert_same(batch.images, data[store], batch.ids)
        assert (batch.targets["label"].numpy() == data[store].labels[batch.ids]).all()
    assert len(resumed) == 6
    for early, late in zip(batches[7:], resumed, strict=True):
        assert early.cursor.step == late.cursor.step
        assert torch.equal(early.images, late.images)


@every_engine
@every_store
def test_leaving_a_loader_early_leaves_no_thread(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    order = Order(np.arange(1000) % SAMPLES)
    with Loader(data[store], engine=engine, batch_size=4, device="cpu") as loader:
        for batch in loader.raw_batches(order):
            if batch.cursor.step == 2:
                break
        assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
        assert next(loader.raw_batches(order)).cursor.step == 0


@every_engine
@every_store
def test_dropping_a_loader_leaves_no_thread(
    engine: EngineConfig, store: tuple[str, str], data: dict[tuple[str, str], Converted], no_thread_left: None
) -> None:
    loader = Loader(data[store], engine=engine, batch_size=4, device="cpu")
    iterator = loader.batches(Order(np.arange(1000) % SAMPLES))
    next(iterator)
    pools = [thread for thread in threading.enumerate() if thread.name.startswith("ffcv")]
    del iterator, loader
    for thread in pools:
        thread.join(timeout=600)


@every_engine
@every_store
def test_a_corrupt_sample_surfaces_in_the_consumer_after_what_came_before(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / f"set.{store[0]}", store[1])
    flip_byte(open_dataset(path), 11)
    seen = []

    def consume() -> None:
        with Loader(open_dataset(path), engine=engine, batch_size=4, device="cpu") as loader:
            for batch in loader.raw_batches(Order(np.arange(SAMPLES))):
                seen.append(batch.cursor.step)

    with pytest.raises(CorruptSampleError, match=r"sample 11 \(class1/011.jpg\)"):
        consume()
    # An engine that decodes when it is opened finds out before the first batch.
    assert seen in ([], [0, 1])
