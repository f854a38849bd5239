"""Sums over pixels are exact however they are shared out."""

from __future__ import annotations

import numpy as np
from drawn_sets import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.formats.statistics import PixelSums


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=9),
    cut=st.integers(0, 9),
)
def test_pixel_sums_are_exact_however_they_are_shared_out(sizes: list[tuple[int, int]], cut: int) -> None:
    images = [noise(index, *size) for index, size in enumerate(sizes)]
    one, two = PixelSums(), PixelSums()
    for index, image in enumerate(images):
        (one if index < cut else two).add(image)
    one.merge(two)
    mean, std = one.mean_and_std()
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-9, atol=1e-12)


def test_pixel_sums_count_large_images_as_well_as_small_ones() -> None:
    large, small = noise(0, 300, 400), noise(1, 5, 5)
    sums = PixelSums()
    for image in (small, large, small):
        sums.add(image)
    pixels = np.concatenate([image.reshape(-1, 3) for image in (small, large, small)]) / 255
    np.testing.assert_allclose(sums.mean_and_std(), (pixels.mean(0), pixels.std(0)), rtol=1e-12)
