"""Photographs as JPEGs in a data set, and what Pillow makes of their crops."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from drawn_sets import card_of
from numpy.typing import NDArray
from PIL import Image

from pipeline.crop import Crop, Windows
from pipeline.formats import Sample, StoredImage
from pipeline.formats.beton import Beton
from pipeline.formats.beton_writer import BetonWriter

CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]
MOST_OFF, MOST_OFF_AT_BORDERS = 2, 12
"""Gray levels between DALI's resized windows and Pillow's. They round at different points; and at a window's
border DALI repeats the last pixel where Pillow ends the filter, which gives it an eighth more weight."""


def photo(seed: int, height: int, width: int) -> Pixels:
    """Colors that run into each other, under noise."""
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
        card = card_of(shapes, {"all": len(contents)}, name="photos", std=(0.2,) * 3, source="made by a test")
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
    """Return the expected batch, HWC."""
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
