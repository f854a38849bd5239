from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from samplers import PSGD, Plan, SamplingError


@pytest.fixture
def plan() -> Plan:
    return Plan(4, epochs=6, budget=0.5, seed=1)


def test_probabilities_are_those_of_equations_2_and_3(plan: Plan, feed: Callable[..., None]) -> None:
    # By hand: errors 1 - p of sample 0: .2, .4; of 1: .9; of 2: .5, .1, .3; sample 3 is never seen.
    sampler = PSGD().build(plan)
    feed(sampler, [0, 1, 2], p_true=[0.8, 0.1, 0.5])
    sampler.next_order()
    feed(sampler, [2, 0], p_true=[0.9, 0.6])
    sampler.next_order()
    feed(sampler, [2], p_true=[0.7])
    a = np.array([0.3, 0.9, 0.3, 0.9])  # means over the times seen; the unseen gets the largest
    eps = (0.3 + 0.9 + 0.3 + 0.9) / 4
    p = a + eps
    np.testing.assert_allclose(sampler.probabilities(), p / p.sum(), rtol=1e-6)


def test_a_mixed_image_counts_by_its_owners_shares(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = PSGD().build(plan)
    feed(sampler, [0, 1, 2, 3], p_true=[0.5, 0.4, 0.7, 0.9])
    feed(sampler, [0, 1], p_true=[1.0, 0.2], coefficient=[0.25, 0.75])
    a = np.array([(0.5 + 0.25 * 0) / 1.25, (0.6 + 0.75 * 0.8) / 1.75, 0.3, 0.1])
    p = a + a.mean()
    np.testing.assert_allclose(sampler.probabilities(), p / p.sum(), rtol=1e-6)


def test_smoothing_and_averaging_can_be_left_out(plan: Plan, feed: Callable[..., None]) -> None:
    for part, a in (
        (PSGD(smoothing=False), [0.5, 0.4, 0.3, 0.2]),
        (PSGD(average=False), [0.8, 0.4, 0.3, 0.2]),
    ):
        sampler = part.build(plan)
        feed(sampler, [0, 1, 2, 3, 0], p_true=[0.8, 0.6, 0.7, 0.8, 0.2])
        p = np.array(a) + (np.mean(a) if part.smoothing else 0)
        np.testing.assert_allclose(sampler.probabilities(), p / p.sum(), rtol=1e-6)


@pytest.mark.parametrize("average", [True, False])
def test_an_error_can_be_measured_against_the_share_in_a_mixed_image(
    plan: Plan, feed: Callable[..., None], average: bool
) -> None:
    sampler = PSGD(relative=True, average=average).build(plan)
    feed(sampler, [0, 1, 2, 3], p_true=[0.5, 0.4, 0.7, 0.9])
    feed(sampler, [0, 1, 2], p_true=[0.3, 0.3, np.nan], coefficient=[0.25, 0.75, 0])
    known, more = np.array([0.5, 0.6, 0.3, 0.1]), np.array([0, (0.75 - 0.3) / 0.75, 0, 0])
    coefficient = np.array([0.25, 0.75, 0, 0])
    a = (known + coefficient * more) / (1 + coefficient) if average else known + coefficient * (more - known)
    p = a + a.mean()
    np.testing.assert_allclose(sampler.probabilities(), p / p.sum(), rtol=1e-5)


def test_a_network_that_knows_all_samples_leaves_nothing_to_draw_by_only_relative_to_shares(
    feed: Callable[..., None],
) -> None:
    # Predictions of p_y = s: every error is 0 relative to the coefficient, and 1 - s by the equation.
    coefficient = np.random.default_rng(3).uniform(0.1, 0.9, 40)
    for relative in (True, False):
        sampler = PSGD(relative=relative).build(Plan(40, epochs=6, budget=0.5, seed=1))
        feed(sampler, range(40), p_true=coefficient, coefficient=coefficient)
        assert (np.ptp(sampler.probabilities()) < 1e-9) == relative


def test_rounds_are_uniform_until_something_is_seen_and_during_the_warm_up(
    plan: Plan, feed: Callable[..., None]
) -> None:
    sampler = PSGD(warmup_rounds=2).build(plan)
    for _ in range(2):
        np.testing.assert_array_equal(sampler.probabilities(), np.full(4, 0.25))
        sampler.next_order()
        feed(sampler, [0, 1], p_true=[0.1, 0.9])
    assert sampler.probabilities()[1] < 0.25


def test_all_always_right_is_uniform(plan: Plan, feed: Callable[..., None]) -> None:
    sampler = PSGD().build(plan)
    feed(sampler, [0, 1, 2, 3], p_true=1)
    np.testing.assert_array_equal(sampler.probabilities(), np.full(4, 0.25))
    assert len(sampler.next_order().ids) == 2


@pytest.mark.parametrize("rounds", [-1, 6])
def test_a_warm_up_outside_the_run_is_refused(plan: Plan, rounds: int) -> None:
    with pytest.raises(SamplingError, match=f"warmup_rounds must be .*got {rounds}"):
        PSGD(warmup_rounds=rounds).build(plan)
