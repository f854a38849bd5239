"""Average precision against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.inference.average_precision import average_precision


def test_by_hand() -> None:
    """Hits at ranks 1, 3 and 4 of 5: (1/1 + 2/3 + 3/4) / 3."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    present = np.array([True, False, True, True, False])
    assert average_precision(scores, present) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_it_is_the_mean_precision_at_each_hit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores, present = rng.permutation(40).astype(float), rng.random(40) < 0.3
        ranked = present[np.argsort(-scores)]
        at_hits = [ranked[: i + 1].mean() for i in np.flatnonzero(ranked)]
        if at_hits:
            assert average_precision(scores, present) == pytest.approx(np.mean(at_hits))


def test_equal_scores_have_no_order() -> None:
    rng = np.random.default_rng(2)
    scores, present = rng.integers(0, 4, 30).astype(float), rng.random(30) < 0.5
    expected = average_precision(scores, present)
    for _ in range(5):
        order = rng.permutation(30)
        assert average_precision(scores[order], present[order]) == pytest.approx(expected)
    assert average_precision(np.zeros(30), present) == pytest.approx(present.mean())


def test_a_perfect_order_is_one_and_no_hit_is_nothing() -> None:
    assert average_precision(np.array([3.0, 2, 1]), np.array([True, True, False])) == 1
    assert math.isnan(average_precision(np.array([3.0, 2, 1]), np.zeros(3, bool)))
