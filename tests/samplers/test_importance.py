"""The importances of the weighted samplers, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from samplers import (
    DIHCL,
    LossProportional,
    LossRank,
    Plan,
    PredictionVariance,
    SamplingError,
    SamplingWarning,
)
from samplers.prioritized import ranks


@pytest.fixture
def plan() -> Plan:
    return Plan(4, epochs=8, budget=0.5, seed=1)


def _spread(values: Any) -> Any:
    variance = np.var(values, ddof=1)
    return np.sqrt(variance + variance**2 / (len(values) - 1))


def test_prediction_variance_is_equation_6_of_the_paper(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = PredictionVariance(burn_in=0).build(plan)
    feed(sampler, [0, 0, 1, 1, 1, 2], p_true=[0.2, 0.6, 0.1, 0.9, 0.5, 0.3])
    known = [_spread([0.2, 0.6]), _spread([0.1, 0.9, 0.5])]
    weights = np.array([*known, max(known), max(known)]) + 0.2  # 2 seen once, 3 never
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


def test_rounds_at_full_budget_follow_equation_6(
    feed: Callable[..., None], deviation: Callable[[ArrayLike, ArrayLike], float]
) -> None:
    # Without replacement every sample would come exactly once a round, whatever its weight.
    plan = Plan(60, epochs=100, budget=1.0, seed=3)
    sampler = PredictionVariance(burn_in=0, eps=0.05).build(plan)
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(60) < 10, 0.45, 0.02)
    for _ in range(20):
        feed(sampler, range(60), p_true=0.5 + spread * rng.uniform(-1, 1, 60))
    chances = sampler.probabilities()
    assert chances.max() > 4 * chances.min()
    counts = np.zeros(60)
    for _ in range(80):  # no feedback: the weights stay
        ids = sampler.next_order().ids
        assert len(ids) == 60
        assert len(np.unique(ids)) < 60
        np.add.at(counts, ids, 1)
    assert -4.75 < deviation(counts, 80 * 60 * chances) < 4.75
    alone = PredictionVariance(burn_in=0, replacement=False)
    with pytest.warns(SamplingWarning, match="60 samples drawn without replacement from 60 takes each once"):
        sampler = alone.build(plan)
    assert sorted(sampler.next_order().ids) == list(range(60))


def test_burn_in_scans_the_set_for_at_most_half_of_the_run(feed: Callable[..., None]) -> None:
    plan = Plan(10, epochs=40, budget=0.5, seed=1)
    short = PredictionVariance(burn_in=3).build(plan)
    with pytest.warns(SamplingWarning, match="10 epochs instead of 99"):
        long = PredictionVariance(burn_in=99).build(plan)
    assert (short.burn_in, long.burn_in) == (6, 20)
    counts = np.zeros(10, int)
    for _ in range(short.burn_in):
        ids = short.next_order().ids
        np.add.at(counts, ids, 1)
        feed(short, ids, p_true=0.5)
    assert (counts == 3).all()


def test_loss_proportional_is_a_power_of_the_last_loss(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = LossProportional(alpha=0.6, eps=0.1).build(plan)
    feed(sampler, [0, 1, 2, 0], loss=[9.0, 0.0, 2.0, 0.4])
    weights = (np.array([0.4, 0.0, 2.0, 2.0]) + 0.1) ** 0.6
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


def test_loss_rank_is_a_power_of_the_rank(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = LossRank(alpha=0.7).build(plan)
    feed(sampler, [0, 1, 2], loss=[0.1, 5.0, 0.2])
    weights = np.array([4, 1.5, 3, 1.5]) ** -0.7  # the unseen shares the front with the largest
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-6)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    np.testing.assert_array_equal(ranks(np.float32([3, 1, 3, 2, 1, 1])), [1.5, 5, 1.5, 3, 5, 5])  # type: ignore[arg-type]


def test_losses_count_by_their_size_whatever_their_sign(plan: Plan, feed: Callable[..., None]) -> None:
    for part in (LossProportional, LossRank):
        below, above = part().build(plan), part().build(plan)
        feed(below, range(4), loss=[-0.9, 0.1, -2.0, 0.5])
        feed(above, range(4), loss=[0.9, 0.1, 2.0, 0.5])
        np.testing.assert_array_equal(below.probabilities(), above.probabilities())


@pytest.mark.filterwarnings("ignore:a round of 20 samples drawn without:samplers.errors.SamplingWarning")
@pytest.mark.parametrize("part", [LossProportional, LossRank])
def test_replacement_is_a_choice(feed: Callable[..., None], part: Any) -> None:
    plan = Plan(20, epochs=4, budget=1.0, seed=0)
    for replacement in (True, False):
        sampler = part(replacement=replacement).build(plan)
        feed(sampler, range(20), loss=np.linspace(0.1, 3, 20))
        assert (len(np.unique(sampler.next_order().ids)) == 20) != replacement


def test_dihcl_is_a_softmax_of_the_average_change(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = DIHCL(tau=2, rate=0.5, warm_epochs=0).build(plan)
    feed(sampler, [0, 0, 0, 1, 1, 2], loss=[1.0, 2.0, 5.0, 3.0, 2.5, 7.0])
    hardness = np.array([1 + 0.5 * (3 - 1), 0.5, 2, 2])  # seen once and never: the largest
    weights = np.exp(2 * hardness / hardness.mean())
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


def test_dihcl_can_go_by_the_loss(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = DIHCL(hardness="loss", tau=1, rate=0.25, warm_epochs=0).build(plan)
    feed(sampler, [0, 0, 1, 2, 3], loss=[1.0, 3.0, 0.5, 1.0, 2.0])
    hardness = np.array([1.5, 0.5, 1, 2])
    weights = np.exp(hardness / hardness.mean())
    np.testing.assert_allclose(sampler.probabilities(), weights / weights.sum(), rtol=1e-5)


def test_dihcl_without_any_change_is_uniform(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = DIHCL(warm_epochs=0).build(plan)
    feed(sampler, [0, 1, 2, 3] * 2, loss=1.0)
    np.testing.assert_array_equal(sampler.probabilities(), np.full(4, 0.25))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PredictionVariance(burn_in=-1), "burn_in must be at least 0; got -1"),
        (lambda: PredictionVariance(eps=float("nan")), "eps must be at least 0; got nan"),
        (lambda: LossProportional(alpha=-0.1), "alpha must be at least 0; got -0.1"),
        (lambda: LossRank(alpha=-1), "alpha must be at least 0"),
        (lambda: DIHCL(hardness="flip"), "hardness must be one of change, loss; got flip"),  # type: ignore[arg-type]
        (lambda: DIHCL(rate=0), "rate must be above 0"),
        (lambda: DIHCL(tau=-2), "tau must be at least 0"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        make()
