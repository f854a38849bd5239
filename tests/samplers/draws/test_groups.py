"""Draws within groups of candidates, against successive sampling."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest

from samplers import SamplingError, use_threads
from samplers.draws.counter import make_key
from samplers.draws.groups import candidates_of, in_groups


def test_a_group_is_drawn_by_successive_sampling(deviation: Callable[..., float]) -> None:
    weights = np.array([1, 4, 2, 0.5, 3, 0.2, 1, 1, 6, 2, 0.1, 3], np.float32)  # two groups of 6, 2 of each
    counts: list[dict[Any, int]] = [dict.fromkeys(combinations(range(6), 2), 0) for _ in range(2)]
    for seed in range(6000):
        chosen = in_groups(weights, 4, 2, 3.0, make_key(seed, "test"))
        assert len(chosen) == 4
        for group in range(2):
            counts[group][tuple(chosen[2 * group : 2 * group + 2] - 6 * group)] += 1
    for group in range(2):
        own = weights[6 * group : 6 * group + 6].astype(float)
        chances = dict.fromkeys(counts[group], 0.0)
        for one, other in permutations(range(6), 2):
            chances[min(one, other), max(one, other)] += (
                own[one] / own.sum() * own[other] / (own.sum() - own[one])
            )
        observed = [counts[group][pair] for pair in chances]
        assert deviation(observed, [6000 * chance for chance in chances.values()]) < 4.75


def test_samples_without_weight_fill_a_group_up() -> None:
    weights = np.array([0, 0, 2, 0, 0, 0, 0, 0], np.float32)
    chosen = in_groups(weights, 4, 2, 2.0, make_key(0, "test"))
    assert chosen.tolist() == [0, 2, 4, 5]
    assert candidates_of(7, 3, 2.5) == len(range(2 * 8)) + 2
    assert len(in_groups(np.ones(18, np.float32), 7, 3, 2.5, make_key(0, "test"))) == 7


def test_any_number_of_threads_draws_the_same() -> None:
    weights = np.random.default_rng(0).exponential(1, candidates_of(30_010, 40, 2.5)).astype(np.float32)
    one = in_groups(weights, 30_010, 40, 2.5, make_key(0, "test"))
    use_threads(3)
    try:
        np.testing.assert_array_equal(in_groups(weights, 30_010, 40, 2.5, make_key(0, "test")), one)
    finally:
        use_threads(1)
    assert (np.diff(one) > 0).all()
    # 40 of every 100.
    assert (np.bincount(one[:30_000] // 100) == 40).all()


def test_everything_is_drawn_where_there_is_no_more() -> None:
    weights = np.random.default_rng(0).exponential(1, 23).astype(np.float32)
    assert in_groups(weights, 23, 5, 1.0, make_key(0, "test")).tolist() == list(range(23))


def test_weights_that_cannot_be_are_refused() -> None:
    weights = np.array([1, np.nan, 1, 1], np.float32)
    with pytest.raises(SamplingError, match="got nan for sample 1"):
        in_groups(weights, 2, 1, 2.0, make_key(0, "test"))
