"""Crops as Pillow makes them, from every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_sets import (
    CPU,
    HEIGHT,
    SAMPLES,
    WIDTH,
    Closing,
    by_engine,
    by_pillow,
    every_engine,
    every_store,
    flip_byte,
    jpeg,
    make,
    random_crop,
    read_all,
    smooth_images,
    stray_bytes,
    whole,
)
from numpy.typing import NDArray

from pipeline import ENGINES, CorruptSampleError, DataError, EngineConfig, Reader
from pipeline.crop import Crop, Windows
from pipeline.formats import Converted, open_dataset


def shapes(count: int) -> list[NDArray[np.uint8]]:
    """Images of any shape, a single pixel and long strips among them."""
    rng = np.random.default_rng(count)
    sizes = [(1, 1), (1, 90), (200, 3), *rng.integers(2, 120, (count - 3, 2)).tolist()]
    return [smooth_images(1, height, width)[0] for height, width in sizes]


@every_engine
@every_store
def test_images_of_several_shapes_come_as_crops_only(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, closing: Closing
) -> None:
    images = [*smooth_images(3), *smooth_images(2, HEIGHT + 1, WIDTH)]
    data = open_dataset(make(tmp_path / f"set.{store[0]}", store[1], images))
    reader = closing(engine.open(data, CPU))
    assert (reader.height, reader.width, reader.crops) == (None, None, True)
    with pytest.raises(
        DataError,
        match="from 24x18 to 25x18: begin the augmentation with random_resized_crop or center_crop, "
        "or convert with --square",
    ):
        reader.read(np.array([0]))
    assert reader.read(np.array([4, 0]), whole(data, np.array([4, 0]), 8, 9)).shape == (2, 3, 8, 9)


@every_engine
@every_store
def test_crops_of_any_shape_are_as_pillows(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, closing: Closing
) -> None:
    """Those of JPEGs may come from a smaller decode, where that has pixels enough."""
    data = open_dataset(make(tmp_path / f"set.{store[0]}", store[1], shapes(30)))
    reader = closing(engine.open(data, CPU))
    for height, width in ((24, 20), (1, 1), (70, 31)):
        ids = np.random.default_rng(height).integers(0, len(data), 64)
        crop = random_crop(data, ids, height, width)
        off = np.abs(by_pillow(data, ids, crop) - by_engine(reader, ids, crop))
        if store[1] == "raw":
            assert off.max() <= 1
        elif height > 1:
            assert off.mean() < 0.7
            assert off.max() <= 32


@every_engine
@every_store
@pytest.mark.parametrize(("height", "width"), [(24, 18), (7, 11), (1, 1), (61, 40)])
def test_crops_are_as_pillows(opened: tuple[Converted, Reader], height: int, width: int) -> None:
    data, reader = opened
    ids = np.random.default_rng(height).integers(0, SAMPLES, 50)
    crop = random_crop(data, ids, height, width)
    off = np.abs(by_pillow(data, ids, crop) - by_engine(reader, ids, crop))
    if not data.compressed.any():
        assert off.max() <= 1
    elif height > 1:
        assert off.mean() < 0.7
        assert off.max() <= 32


@every_store
def test_crops_of_raw_images_are_the_same_from_every_engine(
    closing: Closing, store: tuple[str, str], data: dict[tuple[str, str], Converted]
) -> None:
    ids = np.random.default_rng(4).integers(0, SAMPLES, 80)
    crop = random_crop(data[store], ids, 13, 10)
    results = []
    for part in ENGINES.values():
        reader = closing(part().open(data[store], CPU))
        results.append(by_engine(reader, ids, crop))
    for other in results[1:]:
        off = np.abs(results[0] - other)
        assert off.max() == 0 if store[1] == "raw" else off.mean() < 0.7


@every_engine
@every_store
def test_an_empty_crop_is_empty(opened: tuple[Converted, Reader]) -> None:
    data, reader = opened
    none = np.array([], dtype=np.int64)
    assert reader.read(none, whole(data, none, 5, 6)).shape == (0, 3, 5, 6)


@every_engine
@every_store
@pytest.mark.parametrize("side", ["top", "left", "height", "width"])
@pytest.mark.parametrize("change", [-HEIGHT, HEIGHT, 2**40])
def test_a_window_outside_of_its_image_is_an_error(
    opened: tuple[Converted, Reader], side: str, change: int
) -> None:
    data, reader = opened
    ids = np.array([3, 8])
    crop = whole(data, ids, 4, 4)
    setattr_of = {name: getattr(crop.windows, name) for name in ("top", "left", "height", "width", "flip")}
    setattr_of[side] = setattr_of[side] + np.array([0, change])
    with pytest.raises(DataError, match=r"a window must lie within its image .* of sample 8, 24x18"):
        reader.read(ids, Crop(Windows(**setattr_of), 4, 4))
    with pytest.raises(DataError, match="a crop must have one window per image"):
        reader.read(np.array([3]), crop)


@every_engine
def test_a_crop_of_a_corrupt_sample_is_an_error(
    engine: EngineConfig, tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", "jpeg")
    flip_byte(open_dataset(path), 11)
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path, height=6)


@every_engine
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-2],
        lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH * 2)[0]),
        lambda content: b"not a JPEG",
    ],
    ids=["half", "without its end", "larger", "no JPEG"],
)
def test_a_crop_of_a_jpeg_that_was_broken_when_written_is_an_error(
    engine: EngineConfig, damage: Callable[[bytes], bytes], tmp_path: Path, no_thread_left: None
) -> None:
    """Also where the damage is below the window, and whether or not there is a checksum."""
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=damage))
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data, height=6)
    data.checksums = None
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data, height=6)


@every_engine
@pytest.mark.parametrize("marker", [b"\xff\xc0", b"\xff\xc4", b"\xff\xd9"], ids=["frame", "tables", "end"])
def test_a_crop_of_an_odd_jpeg_that_its_checksum_vouches_for_is_read(
    closing: Closing, engine: EngineConfig, marker: bytes, tmp_path: Path
) -> None:
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=stray_bytes(marker)))
    ids = np.arange(SAMPLES)
    reader = closing(engine.open(data, CPU))
    crop = whole(data, ids, HEIGHT, WIDTH)
    assert np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop)).max() <= 1
