"""k-means on a line, against every partition and against the quadratic dynamic program."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers import SamplingError
from samplers.grouping.k_means_line import k_means_line

numbers = st.lists(
    st.one_of(st.floats(-1e3, 1e3, width=32), st.sampled_from([0.0, 1.0, 2.5, 1e4])), min_size=1, max_size=8
)


def _scatter(values: Any) -> Any:
    return float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0


def _within(values: Any, group: Any) -> Any:
    """Sum of squared distances to the groups' means."""
    return sum(_scatter(values[group == number].astype(float)) for number in range(group.max() + 1))


def _by_every_partition(values: Any, groups: Any) -> Any:
    ordered = np.sort(values).astype(float)
    return min(
        sum(_scatter(part) for part in np.split(ordered, cuts))
        for count in range(min(groups, len(values)))
        for cuts in combinations(range(1, len(values)), count)
    )


def _best(values: Any, groups: Any) -> Any:
    """The least sum of squares, by the program that looks at every cut of every prefix."""
    ordered = np.sort(values).astype(float)
    sums, squares = (np.append(0.0, np.cumsum(ordered**power)) for power in (1, 2))
    ends = np.arange(1, len(ordered) + 1)
    best = np.append(0.0, squares[1:] - sums[1:] ** 2 / ends)
    for _ in range(groups - 1):
        before = best.copy()
        for j in ends:
            i = np.arange(j)
            best[j] = min(
                best[j], (before[:j] + squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (j - i)).min()
            )
    return best[-1]


@given(numbers, st.integers(1, 5))
@settings(deadline=None, max_examples=100)
def test_no_partition_is_better(values: Any, groups: Any) -> None:
    array = np.array(values, np.float32)
    group = k_means_line(array, groups)
    best = _by_every_partition(array, groups)
    assert _within(array, group) <= best * (1 + 1e-9) + 1e-7
    used = np.unique(group)
    np.testing.assert_array_equal(used, np.arange(min(groups, len(np.unique(array)))))
    order = np.argsort(array, kind="stable")
    assert (np.diff(group[order]) >= 0).all()
    assert all(len(np.unique(group[array == value])) == 1 for value in array)


@pytest.mark.parametrize("seed", range(3))
def test_few_hard_losses_among_many_easy_ones_are_grouped_as_well_as_can_be(seed: int) -> None:
    # Lloyd's algorithm from the quantiles stops at five times this; log-normal losses, at twice.
    rng = np.random.default_rng(seed)
    easy_and_hard = np.concatenate([rng.exponential(0.05, 900), rng.uniform(1, 6, 100)])
    for values in (easy_and_hard, rng.lognormal(0, 1.5, 1000), rng.random(1000)):
        array = rng.permutation(values).astype(np.float32)
        assert _within(array, k_means_line(array, 10)) == pytest.approx(_best(array, 10), rel=1e-9)


def test_more_values_than_points_are_grouped_within_the_stated_bound() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.lognormal(0, 1.5, 800), rng.integers(0, 60, 800) / 7, rng.normal(size=800)):
        array = rng.permutation(values).astype(np.float32)
        best = _best(array, 6)
        for points in (12, 50, 200, 400):
            bound = 8 * len(array) * float(np.ptp(array)) ** 2 / points**2
            assert best * (1 - 1e-9) <= _within(array, k_means_line(array, 6, points)) <= best + bound
        assert _within(array, k_means_line(array, 6, 200)) < 1.01 * best


def test_losses_far_from_0_keep_their_digits() -> None:
    values = (1e4 + np.repeat([0.0, 1.0, 2.0], 50) + np.tile(np.linspace(0, 0.1, 50), 3)).astype(np.float32)
    np.testing.assert_array_equal(k_means_line(values, 3), np.repeat([0, 1, 2], 50))


def test_no_values_have_no_groups_and_no_groups_are_refused() -> None:
    assert k_means_line(np.empty(0, np.float32), 3).shape == (0,)
    with pytest.raises(SamplingError, match="groups must be from 1"):
        k_means_line(np.ones(3, np.float32), 0)
