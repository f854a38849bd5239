"""The resident engine: decoding for a device, cropping there, and sets that memory can't hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_sets import (
    CPU,
    HEIGHT,
    SAMPLES,
    WIDTH,
    Closing,
    by_engine,
    expected,
    flip_byte,
    jpeg,
    make,
    random_crop,
    smooth_images,
)

from pipeline import ENGINES, CorruptSampleError, DataError
from pipeline.engines.crew import Crew
from pipeline.engines.resident import ResidentEngine, ResidentReader, _fill, beyond, decode_there
from pipeline.engines.stored import StoredSamples
from pipeline.formats import Converted, open_dataset


def test_torchvision_decodes_for_a_device(tmp_path: Path) -> None:
    """On the CPU here, where its decoder is Pillow's."""
    data = open_dataset(make(tmp_path / "set.beton", "jpeg"))
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    assert decode_there(StoredSamples(data), np.arange(4, 9), out) is None
    assert torch.equal(out.permute(0, 3, 1, 2), expected(data, range(4, 9)))


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"not a JPEG", lambda content: jpeg(smooth_images(1, HEIGHT * 2, WIDTH)[0])],
    ids=["no JPEG", "larger"],
)
def test_what_torchvision_will_not_decode_is_left_to_the_cpu_and_told(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", damage=damage))
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    refusal = decode_there(StoredSamples(data), np.arange(8, 13), out)
    assert refusal
    assert "\n" not in refusal


def test_that_the_cpu_decodes_for_a_device_is_told_once(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the device is the CPU, and torchvision can't decode."""
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    monkeypatch.setattr("pipeline.engines.resident._CHUNK", 8 * HEIGHT * WIDTH * 3)
    dataset = data["beton", "jpeg"]
    images = torch.empty((SAMPLES, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with Crew(1, "test") as crew, pytest.warns(UserWarning, match="is decoded on the CPU, as far as") as told:
        _fill(dataset, images, crew, "gpu")
    assert len(told) == 1
    assert torch.equal(images.permute(0, 3, 1, 2), expected(dataset, range(SAMPLES)))


def test_a_set_leaves_memory_to_the_steps_and_takes_what_is_cached() -> None:
    gib = 1 << 30
    assert beyond(8 * gib, 10 * gib, 0) is None
    assert beyond(8 * gib, 2 * gib, 8 * gib) is None
    assert beyond(10 * gib, 10 * gib, 0) == (
        "10.0 GiB, and training leaves it at most 8.5 GiB of what is free"
    )


def test_torchvision_is_not_given_bytes_that_changed(tmp_path: Path) -> None:
    path = make(tmp_path / "set.beton", "jpeg")
    flip_byte(open_dataset(path), 11)
    out = torch.empty((5, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    with pytest.raises(CorruptSampleError, match="sample 11"):
        decode_there(StoredSamples(open_dataset(path)), np.arange(8, 13), out)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_decodes_at_the_start(closing: Closing, data: dict[tuple[str, str], Converted]) -> None:
    """By itself: that the CPU did in its place would be a warning, which is an error here."""
    reader = closing(ResidentEngine(decoder="gpu").open(data["beton", "jpeg"], torch.device("cuda", 0)))
    images = reader.read(np.arange(SAMPLES)).cpu()
    off = (images.int() - expected(data["beton", "jpeg"], range(SAMPLES)).int()).abs()
    assert off.max() <= 8


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resident_refuses_several_shapes_on_a_gpu(tmp_path: Path) -> None:
    path = make(tmp_path / "set.beton", "raw", [*smooth_images(3), *smooth_images(2, HEIGHT + 1, WIDTH)])
    with pytest.raises(DataError, match="convert with --square"):
        ENGINES["resident"]().open(open_dataset(path), torch.device("cuda"))


def test_resident_crops_on_a_device_as_on_the_host(
    closing: Closing, data: dict[tuple[str, str], Converted]
) -> None:
    """The device's own way, here on the CPU."""
    reader = closing(ENGINES["resident"]().open(data["beton", "raw"], CPU))
    assert isinstance(reader, ResidentReader)
    ids = np.random.default_rng(4).integers(0, SAMPLES, 80)
    crop = random_crop(data["beton", "raw"], ids, 13, 10)
    there = reader._crop_there(ids, crop).permute(0, 2, 3, 1).numpy().astype(np.int64)
    assert np.abs(there - by_engine(reader, ids, crop)).max() <= 1


def test_a_set_that_memory_cannot_hold_is_refused_with_the_remedy(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 100 if name == "SC_PHYS_PAGES" else 256)
    remedy = (
        r"use the ffcv engine, which reads batch by batch \(--engine ffcv\), or convert to smaller images"
    )
    with pytest.raises(DataError, match=remedy):
        ENGINES["resident"]().open(data["beton", "raw"], CPU)


def test_a_decoder_that_there_is_not_is_refused() -> None:
    with pytest.raises(DataError, match="decoder must be one of cpu, gpu; got 'nvjpeg'"):
        ResidentEngine(decoder="nvjpeg")  # type: ignore[arg-type]
