"""The dali engine beyond what every engine keeps to: crops, odd JPEGs, reading ahead, what is left behind."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline.crop import Crop, Windows
from pipeline.engines.dali import DaliEngine, DaliReader
from pipeline.engines.dali_pipeline import library
from pipeline.errors import CorruptSampleError, DataError, MissingExtraError
from pipeline.formats import Sample, StoredImage
from pipeline.formats.beton import Beton
from pipeline.formats.beton_writer import BetonWriter
from pipeline.formats.card import Card

CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]

MOST_OFF, MOST_OFF_AT_BORDERS = 2, 12
"""Grey levels between DALI's resized windows and Pillow's. They round at different points; and at a window's
border DALI repeats the last pixel where Pillow ends the filter, which gives it an eighth more weight."""


def photo(seed: int, height: int, width: int) -> Pixels:
    """Colours that run into each other, under noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(image: Pixels | Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def write(
    path: Path, contents: Sequence[bytes | Pixels], shapes: Sequence[tuple[int, int]] | None = None
) -> Beton:
    """Write JPEG files and raw images to a data set."""
    if shapes is None:
        shapes = [
            one.shape[:2] if isinstance(one, np.ndarray) else Image.open(io.BytesIO(one)).size[::-1]
            for one in contents
        ]
    with BetonWriter(path, len(contents)) as writer:
        for index, (content, (height, width)) in enumerate(zip(contents, shapes, strict=True)):
            stored = content.tobytes() if isinstance(content, np.ndarray) else content
            full = StoredImage.of(stored, height, width)
            writer.append(Sample([full], not isinstance(content, np.ndarray), 0, f"{index}.jpg"))
        heights, widths = [shape[0] for shape in shapes], [shape[1] for shape in shapes]
        card = Card(
            name="photos",
            split="train",
            samples=len(contents),
            classes=("all",),
            class_counts=(len(contents),),
            height=None,
            width=None,
            min_height=min(heights),
            max_height=max(heights),
            min_width=min(widths),
            max_width=max(widths),
            mean=(0.5, 0.5, 0.5),
            std=(0.2, 0.2, 0.2),
            encoding="mixed",
            quality=90,
            source="made by a test",
        )
        writer.publish(writer.finish(card))
    return Beton(path)


def draw_crop(data: Beton, ids: NDArray[np.int64], height: int, width: int, seed: int = 0) -> Crop:
    rng = np.random.default_rng(seed)
    heights = rng.integers(1, data.heights[ids] + 1)
    widths = rng.integers(1, data.widths[ids] + 1)
    tops = rng.integers(0, data.heights[ids] - heights + 1)
    lefts = rng.integers(0, data.widths[ids] - widths + 1)
    flips = rng.random(len(ids)) < 0.5
    return Crop(Windows(tops, lefts, heights, widths, flips), height, width)


def as_pillow(data: Beton, ids: NDArray[np.int64], crop: Crop | None) -> Pixels:
    """What a batch should be, HWC."""
    images = []
    for i, index in enumerate(ids):
        image = data.image(int(index))
        if crop is not None:
            window = crop.windows
            top, left = window.top[i], window.left[i]
            part = image[top : top + window.height[i], left : left + window.width[i]]
            picture = Image.fromarray(part).resize((crop.width, crop.height), Image.Resampling.BILINEAR)
            image = np.asarray(picture)[:, :: -1 if window.flip[i] else 1]
        images.append(image)
    return np.stack(images)


def assert_close(images: torch.Tensor, expected: Pixels, most: int) -> None:
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    off = np.abs(images.permute(0, 2, 3, 1).numpy().astype(int) - expected)
    assert off.shape == expected.shape
    if most == MOST_OFF:
        assert off.max() <= MOST_OFF_AT_BORDERS
        # Rounding alone: a window off by a part of a pixel would show here.
        assert off.mean() < 0.5
        off = off[:, 1:-1, 1:-1]
    assert off.max() <= most


@pytest.fixture
def photos(tmp_path: Path) -> Beton:
    """24 JPEGs of 24 shapes."""
    return write(tmp_path / "photos.beton", [jpeg(photo(i, 90 + 3 * i, 130 - 2 * i)) for i in range(24)])


@pytest.fixture
def square(tmp_path: Path) -> Beton:
    """16 JPEGs of 48 x 64 pixels."""
    return write(tmp_path / "square.beton", [jpeg(photo(i, 48, 64)) for i in range(16)])


@pytest.fixture
def reader(photos: Beton) -> Callable[..., DaliReader]:
    return DaliEngine(threads=2).open(photos, CPU)


# --------------------------------------------------------------------------------------------- crops


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (160, 200), (12, 9)])
def test_windows_are_resized_as_by_pillow(photos: Beton, reader: DaliReader, size: tuple[int, int]) -> None:
    ids = np.random.default_rng(1).integers(0, len(photos), 40)
    crop = draw_crop(photos, ids, *size)
    assert_close(reader.read(ids, crop), as_pillow(photos, ids, crop), MOST_OFF)
    reader.close()


def test_raw_images_and_jpegs_share_a_batch(tmp_path: Path) -> None:
    images = [photo(i, 40, 50) for i in range(9)]
    data = write(tmp_path / "mixed.beton", [jpeg(one) if i % 3 else one for i, one in enumerate(images)])
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([0, 1, 2, 3, 3, 8, 6, 7])
    assert_close(reader.read(ids), as_pillow(data, ids, None), 0)
    crop = draw_crop(data, ids, 20, 30)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF)
    raw = np.array([0, 6, 3])
    assert_close(reader.read(raw), as_pillow(data, raw, None), 0)
    crop = draw_crop(data, raw, 20, 30)
    assert_close(reader.read(raw, crop), as_pillow(data, raw, crop), 1)
    reader.close()


def test_asks_for_crops_on_the_cpu(photos: Beton, tmp_path: Path) -> None:
    raw = write(tmp_path / "raw.beton", [photo(i, 8, 8) for i in range(3)])
    shapes = write(tmp_path / "shapes.beton", [photo(i, 8, 8 + i) for i in range(3)])
    for data, crops, shape in ((photos, True, None), (raw, True, 8), (shapes, True, None)):
        reader = DaliEngine().open(data, CPU)
        assert (reader.crops, reader.height) == (crops, shape)
        reader.close()


def test_images_of_several_shapes_can_not_be_read_whole(reader: DaliReader) -> None:
    with pytest.raises(DataError, match="must share one shape to be read whole, or be cropped"):
        reader.read(np.arange(3))
    reader.close()


# --------------------------------------------------------------------------------------- odd JPEGs


@pytest.mark.parametrize("kind", ["cmyk", "rgb", "exif", "restarts", "optimised", "bytes behind the end"])
def test_odd_jpegs_are_decoded_as_by_pillow(kind: str, tmp_path: Path) -> None:
    picture = Image.fromarray(photo(0, 60, 80))
    exif = Image.Exif()
    exif[0x112] = 6
    content = {
        "cmyk": lambda: jpeg(picture.convert("CMYK")),
        "rgb": lambda: jpeg(picture, keep_rgb=True),
        "exif": lambda: jpeg(picture, exif=exif),
        "restarts": lambda: jpeg(picture, restart_marker_blocks=3),
        "optimised": lambda: jpeg(picture, optimize=True),
        "bytes behind the end": lambda: jpeg(picture) + b"abc",
    }[kind]()
    data = write(tmp_path / "odd.beton", [content, jpeg(picture)])
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([1, 0, 0])
    assert_close(reader.read(ids), as_pillow(data, ids, None), 0)
    crop = draw_crop(data, ids, 33, 21)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF)
    reader.close()


def refused_by_dali(content: bytes) -> bytes:
    """Put two bytes that belong nowhere before the frame header: Pillow skips them, DALI doesn't."""
    return content.replace(b"\xff\xc0", b"\x12\x34\xff\xc0", 1)


@pytest.mark.parametrize("cropped", [False, True])
def test_what_dali_would_refuse_and_pillow_reads_is_read_by_pillow(
    cropped: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = [jpeg(photo(i, 48, 64)) for i in range(8)]
    contents[5] = refused_by_dali(contents[5])
    data = write(tmp_path / "odd.beton", contents)
    reader = DaliEngine(threads=1).open(data, CPU)
    ids = np.array([1, 5, 2, 5])
    crop = draw_crop(data, ids, 20, 20) if cropped else None
    following = np.array([3, 4])
    ahead = [reader.begin(ids, crop), reader.begin(following)]
    assert_close(ahead[0](), as_pillow(data, ids, crop), MOST_OFF if cropped else 0)
    assert_close(ahead[1](), as_pillow(data, following, None), 0)
    assert_close(reader.read(ids, crop), as_pillow(data, ids, crop), MOST_OFF if cropped else 0)
    # DALI was never asked.
    assert capfd.readouterr().err == ""
    reader.close()


# ------------------------------------------------------------------------------------ reading ahead


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
    top = Crop(Windows(*(np.array([value]) for value in (0, 0, 8, 8)), np.array([False])), 8, 8)
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


# -------------------------------------------------------------------------------------------- GPUs


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, and the next test uses it")
def test_for_a_gpu_a_pipeline_is_defined_as_far_as_dali_asks_for_the_device(square: Beton) -> None:
    reader = DaliEngine(threads=1).open(square, torch.device("cuda", 0))
    ids = np.arange(4)
    for crop in (None, draw_crop(square, ids, 8, 8)):
        with pytest.raises(RuntimeError, match="CUDA is not available"):
            reader.begin(ids, crop)
    reader.close()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_images_are_nearly_pillows(square: Beton, tmp_path: Path) -> None:
    device = torch.device("cuda", 0)
    images = [square.encoded(i) if i % 4 else photo(i, 48, 64) for i in range(16)]
    for data in (square, write(tmp_path / "mixed.beton", images)):
        reader = DaliEngine(threads=1).open(data, device)
        ids = np.random.default_rng(3).integers(0, 16, 40)
        crop = draw_crop(data, ids, 20, 30)
        for asked in (None, crop, None):
            read = reader.read(ids, asked)
            assert read.device == device
            off = np.abs(read.permute(0, 2, 3, 1).cpu().numpy().astype(int) - as_pillow(data, ids, asked))
            assert off.mean() < 1
        reader.close()


# ---------------------------------------------------------------------------------- what is left


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


def test_dali_that_is_not_installed_is_named_with_the_command(
    square: Beton, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.cache_clear()
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'budgetrain\[dali\]'"):
        DaliEngine().open(square, CPU)
