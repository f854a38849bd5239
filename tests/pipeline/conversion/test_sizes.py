"""Images are capped, fitted and squared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import noise

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import open_dataset
from pipeline.sources import ImageFolder
from pipeline.sources.store import fit


def test_sizes_are_capped_or_squared(folder: Path, tmp_path: Path) -> None:
    source = ImageFolder(folder)
    card = convert(source, tmp_path / "cap.beton", ConvertOptions(max_resolution=32))
    data = open_dataset(tmp_path / "cap.beton")
    assert card.max_resolution == 32
    for index in range(40):
        height, width = source.read(index).shape[:2]
        scale = min(1, 32 / max(height, width))
        wanted = max(1, round(height * scale)), max(1, round(width * scale))
        assert (data.heights[index], data.widths[index]) == wanted
    card = convert(source, tmp_path / "square.beton", ConvertOptions(square=24))
    assert (card.height, card.width, card.square) == (24, 24, 24)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), cap=st.integers(1, 300))
def test_fitting_gives_the_size_asked_for(height: int, width: int, cap: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    capped = fit(image, cap, None)
    assert max(capped.shape[:2]) == min(max(height, width), cap)
    assert min(capped.shape[:2]) >= 1
    assert (capped is image) == (max(height, width) <= cap)
    assert fit(image, None, cap).shape == (cap, cap, 3)
    assert fit(image, None, None) is image


def test_scaling_down_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(fit(stripes, 8, None)[:, 1:-1], 127.5, atol=8)


def test_squares_are_cut_from_the_center() -> None:
    image = noise(0, 10, 31, 3)
    np.testing.assert_array_equal(fit(image, None, 10), image[:, 10:20])
    tall = noise(0, 30, 11, 3)
    np.testing.assert_array_equal(fit(tall, None, 11), tall[9:20])


def test_very_wide_images_are_squared_without_growing_first() -> None:
    assert fit(noise(0, 2, 60_000, 3), None, 224).shape == (224, 224, 3)
