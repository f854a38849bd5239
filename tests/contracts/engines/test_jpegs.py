"""JPEGs of every kind, sound and broken, through every engine."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_sets import (
    HEIGHT,
    SAMPLES,
    WIDTH,
    assert_same,
    every_engine,
    every_store,
    flip_byte,
    jpeg,
    make,
    read_all,
    smooth_images,
    stray_bytes,
    write,
)
from PIL import Image

from pipeline import CorruptSampleError, EngineConfig
from pipeline.formats import open_dataset


@every_engine
@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_every_kind_are_decoded_as_by_pillow(
    engine: EngineConfig, quality: int, subsampling: int, progressive: bool, tmp_path: Path
) -> None:
    images = smooth_images(8, 33, 47)
    rng = np.random.default_rng(0)
    noisy = [np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8) for image in images]
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    contents = [jpeg(image, **options) for image in noisy]
    path = write(tmp_path / "set.beton", noisy, contents, "jpeg")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in contents])
    assert torch.equal(read_all(engine, path), torch.from_numpy(pixels).permute(0, 3, 1, 2))


@every_engine
def test_a_gray_jpeg_becomes_rgb(engine: EngineConfig, tmp_path: Path) -> None:
    images = smooth_images(3)
    contents = [jpeg(np.asarray(Image.fromarray(image).convert("L"))) for image in images]
    pixels = read_all(engine, write(tmp_path / "set.beton", images, contents, "jpeg"))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert (pixels[0, 0].numpy() == np.asarray(Image.open(io.BytesIO(contents[0])))).all()


@every_engine
@every_store
def test_bytes_that_changed_on_disk_are_an_error(
    engine: EngineConfig, store: tuple[str, str], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / f"set.{store[0]}", store[1])
    flip_byte(open_dataset(path), 11)
    with pytest.raises(CorruptSampleError, match=r"set.*: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path)


@every_engine
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-2],
        lambda content: content[:2],
        lambda content: content[:-40] + bytes(40),
        lambda content: jpeg(smooth_images(1, HEIGHT // 2, WIDTH)[0]),
        lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH * 2)[0]),
        lambda content: b"not a JPEG",
    ],
    ids=["half", "without its end", "two bytes", "zeros at the end", "smaller", "larger", "no JPEG"],
)
def test_a_jpeg_that_was_broken_when_written_is_an_error(
    engine: EngineConfig, damage: Callable[[bytes], bytes], tmp_path: Path, no_thread_left: None
) -> None:
    path = make(tmp_path / "set.beton", "jpeg", damage=damage)
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, path)


@every_engine
@pytest.mark.parametrize("marker", [b"\xff\xc0", b"\xff\xc4", b"\xff\xd9"], ids=["frame", "tables", "end"])
def test_an_odd_jpeg_that_its_checksum_vouches_for_is_read(
    engine: EngineConfig, marker: bytes, tmp_path: Path
) -> None:
    path = make(tmp_path / "set.beton", "jpeg", damage=stray_bytes(marker))
    assert_same(read_all(engine, path), open_dataset(path), np.arange(SAMPLES))


@every_engine
def test_a_truncated_jpeg_without_a_checksum_is_an_error(engine: EngineConfig, tmp_path: Path) -> None:
    """As in files that FFCV itself wrote."""
    path = make(tmp_path / "set.beton", "jpeg", damage=lambda content: content[: len(content) // 2])
    data = open_dataset(path)
    data.checksums = None
    with pytest.raises(CorruptSampleError, match=r"set.beton: sample 11 \(class1/011.jpg\)"):
        read_all(engine, data)
