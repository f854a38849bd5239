"""Contract suite of engines reading whole images, raw pixels and JPEGs, in every format."""

from __future__ import annotations

import resource
import threading
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_sets import HEIGHT, SAMPLES, WIDTH, assert_same, every_engine, every_store, whole
from numpy.typing import NDArray
from torch import Tensor

from pipeline import DataError, EngineConfig, Reader
from pipeline.formats import Converted


@every_engine
@every_store
@pytest.mark.parametrize(
    "ids",
    [
        np.arange(SAMPLES),
        np.arange(SAMPLES)[::-1].copy(),
        np.array([5, 5, 5, 0, 36, 5]),
        np.random.default_rng(0).integers(0, SAMPLES, 200),
        np.array([7]),
        np.array([], dtype=np.int64),
    ],
    ids=["all", "backwards", "duplicates", "longer than the set", "one", "none"],
)
def test_gives_what_is_asked_for(opened: tuple[Converted, Reader], ids: NDArray[np.int64]) -> None:
    data, reader = opened
    images = reader.read(ids)
    assert_same(images, data, ids)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (reader.height, reader.width) == (HEIGHT, WIDTH)


@every_engine
@every_store
@pytest.mark.parametrize("wrong", [SAMPLES, -1, 2**40])
def test_an_id_out_of_range_is_an_error(opened: tuple[Converted, Reader], wrong: int) -> None:
    _, reader = opened
    with pytest.raises(DataError, match=rf"one of the {SAMPLES} samples .* got {wrong:,}"):
        reader.read(np.array([0, wrong]))
    reader.read(np.array([0]))


@every_engine
@every_store
def test_a_batch_stays_as_it_is(opened: tuple[Converted, Reader]) -> None:
    _, reader = opened
    ids = np.random.default_rng(2).integers(0, SAMPLES, (60, 16))
    kept = [reader.read(row) for row in ids]
    copies = [images.clone() for images in kept]
    kept[3].zero_()
    again = reader.read(ids[3])
    for index, (images, copy) in enumerate(zip(kept, copies, strict=True)):
        assert index == 3 or torch.equal(images, copy)
    assert torch.equal(again, copies[3])


@every_engine
@every_store
def test_several_threads_may_read(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened
    results: dict[int, Tensor] = {}

    def work(number: int) -> None:
        for _ in range(20):
            results[number] = reader.read(np.arange(number, SAMPLES))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, images in results.items():
        assert_same(images, data, np.arange(number, SAMPLES))


@every_engine
@every_store
@pytest.mark.parametrize("cropped", [False, True], ids=["whole", "cropped"])
def test_part_of_a_batch_stays_as_it_is(opened: tuple[Converted, Reader], cropped: bool) -> None:
    """Memory is given again once nobody holds any of it: not while somebody holds a row."""
    data, reader = opened
    rng = np.random.default_rng(5)
    kept = []  # type: ignore[var-annotated]
    for _ in range(30):
        ids = rng.integers(0, SAMPLES, 16)
        images = reader.read(ids, whole(data, ids, HEIGHT, WIDTH) if cropped else None)
        kept.append((ids[3], images[3] if len(kept) % 2 else images.numpy()[3]))
        del images
    for index, image in kept:
        one = np.array([index])
        again = reader.read(one, whole(data, one, HEIGHT, WIDTH) if cropped else None)
        assert (np.asarray(image) == again[0].numpy()).all()


@every_engine
@every_store
def test_memory_does_not_grow(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    ids = np.random.default_rng(6).integers(0, SAMPLES, 1000)
    taken = []
    for _ in range(150):
        reader.read(ids)
        reader.read(ids, whole(data, ids, HEIGHT, WIDTH))
        taken.append(resident())
    # Two batches a round are 2.6 MB: a leak of either would be 52 MB over 40 rounds. Of ten rounds the
    # lowest, once all threads have what they keep: DALI's take a hundred rounds for that, and their memory
    # goes up and down.
    assert min(taken[140:]) - min(taken[100:110]) < 16e6


@every_engine
def test_is_a_frozen_dataclass_that_says_what_it_does(engine: EngineConfig) -> None:
    assert is_dataclass(engine)
    assert type(engine).__dataclass_params__.frozen
    assert (type(engine).__doc__ or "").splitlines()[0].endswith(".")
    assert "threads" in {field.name for field in fields(engine)}
    with pytest.raises(DataError, match="threads must be at least 1, or 0 for one per core; got -1"):
        type(engine)(threads=-1)
    with pytest.raises(
        DataError, match="threads must be at most 1024; got 100000000: give 0 for one per core"
    ):
        type(engine)(threads=100_000_000)
    assert type(engine)(threads=3).open
