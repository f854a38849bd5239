"""The dali engine reading ahead: batches in any order, errors at their turn, what is left behind."""

from __future__ import annotations

import gc
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from photographs_on_disk import CPU, MOST_OFF, as_pillow, assert_close, draw_crop, jpeg, photo, write

from pipeline.crop import Crop, Windows
from pipeline.engines.dali import DaliEngine, DaliReader
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats.beton import Beton


def test_batches_begun_ahead_come_in_any_order_they_are_asked_for(photos: Beton, reader: DaliReader) -> None:
    orders = [np.random.default_rng(seed).integers(0, len(photos), 5 + 4 * seed) for seed in range(7)]
    crops = [draw_crop(photos, ids, 40, 30, seed) for seed, ids in enumerate(orders)]
    waits = [reader.begin(ids, crop) for ids, crop in zip(orders, crops, strict=True)]
    for place in (2, 6, 0, 1, 5, 4, 3):
        expected = as_pillow(photos, orders[place], crops[place])
        assert_close(waits[place](), expected, MOST_OFF)
    reader.close()


def test_batches_that_nobody_waits_for_are_dropped(photos: Beton, reader: DaliReader) -> None:
    ids = np.arange(24)
    for seed in range(10):
        reader.begin(ids, draw_crop(photos, ids, 40, 30, seed))
    crop = draw_crop(photos, ids, 30, 30)
    assert_close(reader.read(ids, crop), as_pillow(photos, ids, crop), MOST_OFF)
    reader.begin(ids, crop)
    reader.close()


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_an_error_comes_at_its_batchs_turn_and_the_others_are_read(
    square: Beton, damage: str, tmp_path: Path
) -> None:
    if damage == "cut":
        contents = [square.encoded(i) for i in range(16)]
        contents[9] = contents[9][:-30]
        square = write(tmp_path / "cut.beton", contents, [(48, 64)] * 16)
    else:
        with square.path.open("r+b") as file:
            file.seek(int(square.offsets[9] + square.sizes[9] // 2))
            file.write(b"\x12\x34\x56")
        square = Beton(square.path)
    reader = DaliEngine(threads=1).open(square, CPU)
    waits = [reader.begin(np.arange(first, first + 4)) for first in (0, 4, 8, 12)]
    for first in (0, 4):
        assert_close(waits[first // 4](), as_pillow(square, np.arange(first, first + 4), None), 0)
    with pytest.raises(CorruptSampleError, match=r"\.beton: sample 9 \(9\.jpg\)"):
        waits[2]()
    assert_close(waits[3](), as_pillow(square, np.arange(12, 16), None), 0)
    reader.close()


def test_damage_that_no_checksum_tells_of_is_an_error_in_every_window(tmp_path: Path) -> None:
    """Also in those that stay clear of it."""
    contents = [jpeg(photo(i, 64, 64)) for i in range(3)]
    contents[1] = contents[1][: len(contents[1]) * 3 // 4]
    data = write(tmp_path / "cut.beton", contents, [(64, 64)] * 3)
    data.checksums = None
    reader = DaliEngine(threads=1).open(data, CPU)
    top = Crop(Windows(*(np.array([value]) for value in (0, 0, 8, 8)), np.array([False])), 8, 8)  # type: ignore[call-arg]
    for _ in range(2):
        with pytest.raises(CorruptSampleError, match=r"cut\.beton: sample 1 \(1\.jpg\)"):
            reader.read(np.array([1]), top)
    reader.close()


def test_an_interrupted_read_mixes_up_no_batches(photos: Beton) -> None:
    """Ctrl-C between DALI's giving a batch and our taking it, or between two of its inputs."""
    reader = DaliEngine(threads=1).open(photos, CPU)
    everything = np.tile(np.arange(24), 4)
    crop = draw_crop(photos, everything, 50, 50)
    expected = as_pillow(photos, everything, crop)
    reader.read(everything, crop)
    interrupted, armed = 0, False

    def interrupt(*_: object) -> None:
        if armed:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    # What is raised while garbage is collected, as within Hypothesis's own callback, never comes out here.
    gc.disable()
    try:
        for delay in np.linspace(1e-4, 0.03, 40):
            try:
                try:
                    armed = True
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    waits = [reader.begin(everything[part], parted(crop, part)) for part in HALVES]
                    for wait in waits:
                        wait()
                finally:
                    armed = False
            except KeyboardInterrupt:
                interrupted += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            for part in HALVES[::-1]:
                assert_close(reader.read(everything[part], parted(crop, part)), expected[part], MOST_OFF)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    reader.close()
    assert interrupted > 5


HALVES = [np.arange(0, 48), np.arange(48, 96)]


def parted(crop: Crop, part: NDArray[np.int64]) -> Crop:
    return Crop(crop.windows[part], crop.height, crop.width)


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def settled_threads(most: int) -> int:
    """Threads once those that end have ended."""
    for _ in range(60_000):
        if native_threads() <= most:
            break
        time.sleep(0.01)
    return native_threads()


@pytest.mark.parametrize("leave", ["close", "drop", "drop while decoding"])
def test_no_thread_is_left(square: Beton, leave: str) -> None:
    DaliEngine().open(square, CPU).read(np.arange(4))
    gc.collect()
    before = native_threads()
    while time.sleep(0.05) is None and native_threads() < before:
        before = native_threads()
    reader = DaliEngine(threads=3).open(square, CPU)
    images = reader.read(np.arange(16))
    assert native_threads() > before
    if leave == "close":
        reader.close()
        reader.close()
        with pytest.raises(DataError, match="must be open"):
            reader.read(np.arange(4))
    if leave == "drop while decoding":
        reader.begin(np.arange(16))
    gc.disable()
    del reader
    gc.enable()
    assert settled_threads(before) <= before
    # Memory that was given out outlives the reader.
    assert_close(images, as_pillow(square, np.arange(16), None), 0)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow(square: Beton) -> None:
    reader = DaliEngine(threads=1).open(square, CPU)
    ids = np.tile(np.arange(16), 8)
    held = []
    for _ in range(4):
        for _ in range(50):
            reader.read(ids)
        held.append(resident_bytes())
    reader.close()
    # A batch is 1.2 MB: were each kept, it would be 60 MB every time. What else this process does, or an
    # allocator's own store, may add something once.
    assert min(later - sooner for sooner, later in pairwise(held)) < 20e6
