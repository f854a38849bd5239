from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from samplers import SamplingError
from samplers.draws.counter import make_key
from samplers.draws.shuffle import permutation, shuffled


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 4095, 4096, 4097, 70_001])
def test_a_permutation_holds_every_number_once(size: int) -> None:
    order = permutation(size, make_key(1, "test", size))
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_small_permutations_are_equally_likely(deviation: Callable[[ArrayLike, ArrayLike], float]) -> None:
    counts = dict.fromkeys(permutations(range(4)), 0)
    for number in range(24_000):
        counts[tuple(permutation(4, make_key(0, "test", number)).tolist())] += 1
    assert deviation(list(counts.values()), np.full(24, 1000.0)) < 4.75


def test_places_in_a_large_permutation_are_uniform(
    deviation: Callable[[ArrayLike, ArrayLike], float],
) -> None:
    size, cells = 50_000, 20
    counts = np.zeros((cells, cells))
    for number in range(8):
        order = permutation(size, make_key(0, "large", number))
        np.add.at(counts, (order * cells // size, np.arange(size) * cells // size), 1)
    assert deviation(counts.ravel(), np.full(cells * cells, 8 * size / cells**2)) < 4.75


def test_neighbors_in_a_large_permutation_are_independent() -> None:
    order = permutation(100_000, make_key(0, "neighbors")).astype(float)
    correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
    assert abs(correlation) < 4.9 / np.sqrt(len(order))


def test_shuffled_keeps_items_and_leaves_its_argument_alone() -> None:
    items = np.repeat(np.arange(5000, dtype=np.int32), 3)
    before = items.copy()
    mixed = shuffled(items, make_key(0, "test"))
    np.testing.assert_array_equal(items, before)
    np.testing.assert_array_equal(np.sort(mixed), before)
    assert (mixed != before).mean() > 0.99


def test_a_permutation_depends_on_its_key() -> None:
    first, second = (permutation(1000, make_key(seed, "test")) for seed in (0, 1))
    assert (first != second).mean() > 0.99


def test_a_set_too_large_is_refused() -> None:
    with pytest.raises(SamplingError, match="at most 2,147,483,647 samples; got 2,147,483,648"):
        permutation(2**31, make_key(0, "test"))
