"""Crops of JPEGs by the ffcv engine: scaled while they are decoded, and no further than needed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_sets import (
    CPU,
    Closing,
    by_engine,
    by_pillow,
    jpeg,
    make,
    random_crop,
    smooth_images,
    whole,
    write,
)
from numpy.typing import NDArray
from PIL import Image

from pipeline import ENGINES
from pipeline.crop import Crop, Windows
from pipeline.formats import open_dataset


def textured(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(height)
    return [
        np.clip(image + rng.normal(0, 15, (*image.shape[:2], 1)), 0, 255).astype(np.uint8)
        for image in smooth_images(count, height, width)
    ]


def by_draft(content: bytes, crop: Crop, place: int) -> tuple[NDArray[np.int64], int]:
    """The window from Pillow's own scaled decode, which has pixels of a whole fraction of the size."""
    windows = crop.windows
    top, left, height, width = (
        int(side[place]) for side in (windows.top, windows.left, windows.height, windows.width)
    )
    scale = 1
    while scale < 8 and height >= 2 * scale * crop.height and width >= 2 * scale * crop.width:
        scale *= 2
    image = Image.open(io.BytesIO(content))
    if scale > 1:
        image.draft("RGB", (image.width // scale, image.height // scale))
        assert image.size[0] == -(-Image.open(io.BytesIO(content)).width // scale)
    first = left // scale, top // scale
    last = -(-(left + width) // scale), -(-(top + height) // scale)
    part = image.convert("RGB").crop((*first, *last))
    box = (
        left / scale - first[0],
        top / scale - first[1],
        (left + width) / scale - first[0],
        (top + height) / scale - first[1],
    )
    small = np.asarray(part.resize((crop.width, crop.height), Image.Resampling.BILINEAR, box=box))
    return (small[:, ::-1] if windows.flip[place] else small).astype(np.int64), scale


JPEG_KINDS = [
    {"subsampling": 0},
    {"subsampling": 1},
    {"subsampling": 2},
    {"subsampling": 2, "progressive": True},
    {"subsampling": 2, "restart_marker_rows": 1},
    {"gray": True},
]


def encode_as(image: NDArray[np.uint8], kind: dict[str, int]) -> bytes:
    if "gray" in kind:
        return jpeg(np.asarray(Image.fromarray(image).convert("L")))
    return jpeg(image, **kind)


@pytest.mark.parametrize("kind", JPEG_KINDS, ids=lambda kind: "-".join(map(str, kind)))
@pytest.mark.parametrize("size", [8, 20, 60])
def test_ffcv_scales_while_it_decodes(
    closing: Closing, kind: dict[str, int], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one gray level of Pillow's scaled decode, resized; and never by way of the whole image."""
    images = textured(6, 149, 203)
    contents = [encode_as(image, kind) for image in images]
    data = open_dataset(write(tmp_path / "set.beton", images, contents, "jpeg"))
    ids = np.random.default_rng(size).integers(0, 6, 60)
    crop = random_crop(data, ids, size, size)
    wanted = [by_draft(contents[index], crop, place) for place, index in enumerate(ids)]
    assert len({scale for _, scale in wanted}) >= (3 if size == 8 else 2)
    monkeypatch.setattr(type(data), "image", None)
    reader = closing(ENGINES["ffcv"]().open(data, CPU))
    assert np.abs(by_engine(reader, ids, crop) - np.stack([one for one, _ in wanted])).max() <= 1


@pytest.mark.parametrize("kind", JPEG_KINDS, ids=lambda kind: "-".join(map(str, kind)))
def test_ffcv_decodes_the_same_pixels_without_what_is_below(
    closing: Closing, kind: dict[str, int], tmp_path: Path
) -> None:
    """Only where checksums vouch for the bytes does it leave out the rows below the window."""
    images = textured(2, 150, 64)
    contents = [encode_as(image, kind) for image in images]
    data = open_dataset(write(tmp_path / "set.beton", images, contents, "jpeg"))
    rows = np.arange(1, 151)
    ids, zero = rows % 2, np.zeros(150, np.int64)
    results = []
    for vouched in (True, False):
        if not vouched:
            data.checksums = None
        reader = closing(ENGINES["ffcv"]().open(data, CPU))
        results.append(
            [
                reader.read(ids, Crop(Windows(zero, zero, rows, zero + 64, zero > 0), size, size))
                for size in (64, 8)
            ]
        )
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_ffcv_crops_stay_near_to_the_exact_decode(closing: Closing, tmp_path: Path) -> None:
    """Within 4 gray levels on average where pictures are full of noise of 15.

    The worst case, because a scaled decode takes the mean of 2x2 pixels where the filter weighs 4x4.
    """
    data = open_dataset(make(tmp_path / "set.beton", "jpeg", textured(4, 256, 320)))
    reader = closing(ENGINES["ffcv"]().open(data, CPU))
    ids = np.arange(4)
    for scale in (2, 4):
        crop = whole(data, ids, 256 // scale, 320 // scale)
        off = np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop))
        assert 0.5 < off.mean() < 4
    crop = whole(data, ids, 255, 319)
    assert np.abs(by_engine(reader, ids, crop) - by_pillow(data, ids, crop)).max() <= 1
