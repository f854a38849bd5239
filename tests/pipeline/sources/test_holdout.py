"""Arrays as sources, and holding out a share of every class."""

from __future__ import annotations

import numpy as np
import pytest
from image_files import noise

from pipeline.errors import DataError
from pipeline.sources import ArraySource
from pipeline.sources.holdout import hold_out


def test_arrays_must_fit_their_labels() -> None:
    labels = np.array([0, 1, 2])
    with pytest.raises(DataError, match="2 images and 3 labels"):
        ArraySource("x", "train", "x", ("a", "b", "c"), labels, noise(0, 2, 4, 4))
    with pytest.raises(DataError, match="one of its 2 classes, numbered from 0; image 2 has 2"):
        ArraySource("x", "train", "x", ("a", "b"), labels, noise(0, 3, 4, 4))


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.99])
def test_holding_out_takes_its_share_of_every_class(fraction: float) -> None:
    sizes = [1, 2, 3, 10, 1000]
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5), sizes))
    held = hold_out(labels, fraction, seed=3)
    taken = np.bincount(labels[held], minlength=5)
    assert taken[0] == 0
    for size, count in zip(sizes[1:], taken[1:], strict=True):
        assert 1 <= count <= size - 1
        assert abs(count - size * fraction) <= 1
    np.testing.assert_array_equal(held, hold_out(labels, fraction, seed=3))


def test_holding_out_is_random_and_seeded() -> None:
    labels = np.zeros(400, np.int64)
    one, other = hold_out(labels, 0.5, 0), hold_out(labels, 0.5, 1)
    assert 140 < (one == other).sum() < 260
    # Every sample has the same chance; 6 standard deviations are p = 1e-6 for the largest of 400.
    counts = sum(hold_out(labels, 0.25, seed).astype(int) for seed in range(200))
    assert np.abs(counts - 50).max() < 6 * np.sqrt(200 * 0.25 * 0.75)
