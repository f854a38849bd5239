from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from samplers import UCB, EpsilonGreedy, Plan, SamplingError


@pytest.fixture
def plan() -> Plan:
    return Plan(10, epochs=30, budget=0.4, seed=1)


def test_the_highest_moving_averages_are_kept(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = EpsilonGreedy(epsilon=0, rate=0.5).build(plan)
    feed(sampler, range(10), loss=np.arange(10.0))
    feed(sampler, [0, 9, 8], loss=[14.0, 1.5, 0.0])  # averages 7, 5.25, 4
    assert sorted(sampler.next_order().ids) == [0, 6, 7, 9]


def test_a_part_of_the_round_is_random(feed: Callable[..., None]) -> None:
    plan = Plan(100, epochs=400, budget=0.4, seed=1)
    sampler = EpsilonGreedy(epsilon=0.25).build(plan)
    feed(sampler, range(100), loss=np.arange(100.0))
    counts = np.zeros(100)
    for _ in range(400):
        order = sampler.next_order()
        assert len(np.unique(order.ids)) == 40
        np.add.at(counts, order.ids, 1)
    assert (counts[70:] == 400).all()
    expected = 400 * 10 / 70
    assert (np.abs(counts[:70] - expected) < 4.9 * np.sqrt(expected * 6 / 7)).all()


def test_samples_not_seen_yet_come_first(plan: Plan, feed: Callable[..., None]) -> None:
    for part in (EpsilonGreedy(epsilon=0), UCB()):
        sampler = part.build(plan)
        feed(sampler, range(6), loss=9.0)
        assert sorted(sampler.next_order().ids) == [6, 7, 8, 9]


def test_the_confidence_bound_is_average_and_bonus(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = UCB(confidence=2, rate=1).build(plan)
    feed(sampler, range(10), loss=np.linspace(0, 1.8, 10))
    feed(sampler, [9] * 8, loss=1.8)
    sampler.round = 3
    sampler.fold_buffered()
    expected = np.linspace(0, 1.8, 10) + 2 * np.sqrt(np.log(4) / np.array([1] * 9 + [9]))
    np.testing.assert_allclose(sampler.scores(), expected, rtol=1e-6)
    assert 9 not in sampler.next_order().ids


def test_the_bonus_can_be_the_variance(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = UCB(confidence=3, bonus="variance", rate=0.5).build(plan)
    feed(sampler, [0, 0, 1, 1], loss=[1.0, 3.0, 2.0, 2.0])
    sampler.fold_buffered()
    np.testing.assert_allclose(sampler.scores()[:2], [2 + 3 * (0.5 * 4), 2], rtol=1e-6)


def test_the_bonus_brings_every_sample_back(feed: Callable[..., None]) -> None:
    sampler = UCB(confidence=0.3).build(Plan(20, epochs=200, budget=0.25, seed=1))
    last_seen = np.zeros(20, int)
    for number in range(200):
        ids = sampler.next_order().ids
        last_seen[ids] = number
        feed(sampler, ids, loss=np.where(ids < 5, 0.5, 0.1))
    assert last_seen.min() > 100


def test_a_selection_can_be_kept_for_some_rounds(feed: Callable[..., None]) -> None:
    sampler = EpsilonGreedy(epsilon=0.5, period=3).build(Plan(30, epochs=9, budget=0.35, seed=1))
    feed(sampler, range(30), loss=1.0)
    orders = [set(sampler.next_order().ids.tolist()) for _ in range(9)]
    sizes = [len(order) for order in orders]
    for at in (0, 3, 6):
        union = set.union(*orders[at : at + 3])
        assert len(union) == max(sizes[at : at + 3])
    assert orders[0] != orders[3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EpsilonGreedy(epsilon=1.2), "epsilon must be from 0 to 1"),
        (lambda: EpsilonGreedy(rate=0), "rate must be above 0"),
        (lambda: UCB(period=0), "period must be at least 1"),
        (lambda: UCB(bonus="none"), "bonus must be one of count, variance"),  # type: ignore[arg-type]
        (lambda: UCB(confidence=-1), "confidence must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        make()
