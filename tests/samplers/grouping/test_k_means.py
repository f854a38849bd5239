from __future__ import annotations

import numpy as np
import pytest

from samplers import SamplingError
from samplers.grouping.k_means import k_means, spread_centers


def _within(features: np.ndarray, group: np.ndarray) -> float:
    """Sum of squared distances to the groups' means, in float64."""
    return sum(
        float(((features[group == g] - features[group == g].mean(axis=0, dtype=np.float64)) ** 2).sum())
        for g in np.unique(group)
    )


def _clusters(sizes: list[int], dimensions: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centers = rng.normal(size=(len(sizes), dimensions)) * 50
    return truth, (centers[truth] + rng.normal(size=(len(truth), dimensions))).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sizes", [[125] * 4, [5, 5, 5, 2000], [40] * 24])
def test_every_cluster_is_found_however_small(sizes: list[int], seed: int) -> None:
    # From uniformly drawn centers, a cluster of 5 in 2,015 hardly ever has one of its own.
    truth, features = _clusters(sizes)
    assert _within(features, k_means(features, len(sizes), seed)) <= 1.05 * _within(features, truth)


def test_clusters_far_from_0_keep_their_distances() -> None:
    # Multiples of 1/64 and below 64: moved by 65,536 they keep their differences exactly, in float32 too.
    truth, features = _clusters([60, 40, 30], dimensions=64)
    features = np.round(features) / 64
    near = k_means(features, 3, seed=1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(k_means(features + np.float32(1 << 16), 3, seed=1), near)  # type: ignore[arg-type]
    assert _within(features, near) <= 1.05 * _within(features, truth)


def test_it_comes_near_the_best_of_many_starts() -> None:
    features = np.random.default_rng(3).lognormal(size=(400, 2)).astype(np.float32)
    found = [_within(features, k_means(features, 10, seed)) for seed in range(10)]
    assert max(found) <= 1.4 * min(found)


def test_centers_are_drawn_by_their_squared_distance() -> None:
    # Two centers of three points: greedily, the second is the one that lowers the sum of squares most.
    features = np.array([[0.0], [1.0], [10.0]], np.float32)
    for seed in range(20):
        first, second = spread_centers(features, 2, seed)
        assert (first, second) in {(0, 2), (1, 2), (2, 0), (2, 1)}


def test_coinciding_samples_leave_groups_empty() -> None:
    group = k_means(np.ones((6, 3), np.float32), 3)
    assert len(group) == 6
    assert len(np.unique(group)) == 1


def test_what_cannot_be_is_refused() -> None:
    features = np.ones((300, 2), np.float32)
    with pytest.raises(SamplingError, match="count must be from 1 to the 300"):
        k_means(features, 301)
    with pytest.raises(SamplingError, match="finite float32"):
        k_means(np.full((3, 2), np.nan, np.float32), 1)
