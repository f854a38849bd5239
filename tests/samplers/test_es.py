"""Evolved sampling against its equations, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sampler_runs import assert_same, run, train

from samplers import ES, Plan, SamplingError


def test_weights_follow_the_recurrences(feed: Callable[..., None]) -> None:
    sampler = ES(beta1=0.3, beta2=0.8).build(Plan(20, epochs=9, budget=0.5))
    rng = np.random.default_rng(0)
    score, weight = [1 / 20] * 20, [np.nan] * 20
    for _ in range(5):
        ids, losses = rng.integers(0, 15, 30), rng.exponential(1, 30)
        feed(sampler, ids, loss=losses)
        sampler.fold_buffered()
        for i, loss in zip(ids, losses, strict=True):
            weight[i] = 0.3 * score[i] + 0.7 * loss
            score[i] = 0.8 * score[i] + 0.2 * loss
    expected = np.where(np.isnan(weight), np.nanmax(weight), weight)
    np.testing.assert_allclose(sampler.weights(), expected, rtol=1e-5)


def test_weights_are_an_average_of_losses_and_one_of_their_differences(feed: Callable[..., None]) -> None:
    # The sums that the recurrences unroll to: averages by beta2, differences by beta2 - beta1.
    beta1, beta2, losses = 0.2, 0.9, np.array([2.0, 1.5, 1.8, 0.7, 0.4, 0.9])
    sampler = ES(beta1=beta1, beta2=beta2).build(Plan(10, epochs=9, budget=0.5))
    feed(sampler, [3] * 6, loss=losses)
    sampler.fold_buffered()
    powers = beta2 ** np.arange(6)[::-1]
    average = (1 - beta2) * (powers * losses).sum()
    differences = (beta2 - beta1) * (powers[1:] * np.diff(losses)).sum()
    first = beta2**5 * ((beta2 - beta1) * losses[0] + beta1 / 10)
    assert sampler.weights()[3] == pytest.approx(average + differences + first, rel=1e-5)


def test_a_mixed_row_counts_by_its_coefficient(feed: Callable[..., None]) -> None:
    sampler = ES(beta1=0.3, beta2=0.8).build(Plan(10, epochs=9, budget=0.5))
    feed(sampler, [2, 4], loss=[1.0, 1.0], coefficient=[0.25, 0.0])
    sampler.fold_buffered()
    assert sampler.weights()[2] == pytest.approx(0.1 + 0.25 * 0.7 * 0.9)
    assert sampler.weights()[4] == sampler.weights()[2]  # not seen: the largest


def test_a_batch_is_of_its_own_candidates() -> None:
    # Between the annealed ends a sweep of 64 makes 16 samples: 4 of each 16 candidates in a row.
    plan = Plan(64, epochs=16, budget=0.25, batch_size=4, seed=3)
    sampler = ES(anneal=0).build(plan)
    orders = run(sampler)
    assert all(len(np.unique(order.ids)) == 16 for order in orders)
    with pytest.warns(UserWarning, match="every sample"):
        every = ES(anneal=0, ratio=1).build(Plan(64, epochs=64, budget=0.25, batch_size=4, seed=3))
    sweeps = np.concatenate([order.ids for order in run(every)]).reshape(-1, 16)
    ours = np.concatenate([order.ids for order in orders]).reshape(-1, 4)
    for batch, candidates in zip(ours, sweeps, strict=False):
        assert np.isin(batch, candidates).all()


def test_the_set_level_leaves_out_low_weights(feed: Callable[..., None]) -> None:
    plan = Plan(100, epochs=200, budget=0.4, seed=1)
    sampler = ES(prune=0.3, ratio=1, anneal=0.1).build(plan)
    losses = np.where(np.arange(100) < 50, 1e-3, 2.0)
    counts = np.zeros((3, 100))
    feed(sampler, np.arange(100), loss=losses)
    for _ in range(200):
        order = sampler.next_order()
        part = 0 if order.round < 20 else 2 if order.round >= 180 else 1
        np.add.at(counts[part], order.ids, 1)
    for ends in (0, 2):  # whole sweeps
        assert np.ptp(counts[ends]) <= 1
    assert (counts[1][50:] > 1.2 * 64).all()  # in nearly all sweeps, which are of 70
    assert counts[1][:50].mean() < 0.6 * 64


def test_what_a_round_left_out_is_scored_where_wanted() -> None:
    plan = Plan(64, epochs=16, budget=0.25, batch_size=4, seed=3)
    part = ES(anneal=0, rescore=True)
    assert part.asks == "forward"
    assert ES().asks is None
    sampler = part.build(plan)
    order = sampler.next_order()
    assert order.score_ids is not None
    assert sorted([*order.ids, *order.score_ids]) == list(range(64))


def test_a_run_resumed_amid_a_thinned_sweep_goes_on_the_same() -> None:
    part, plan = ES(prune=0.25, ratio=2.0), Plan(60, epochs=20, budget=0.4, batch_size=8, seed=5)
    sampler = part.build(plan)
    for _ in range(20):
        state, other = sampler.state_dict(), part.build(plan)
        other.load_state_dict(state)
        order = sampler.next_order()
        sampler_ahead = other.next_order()
        assert_same([order], [sampler_ahead])
        train(sampler, order)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta1": 1.1}, "beta1 must be from 0 to 1; got 1.1"),
        ({"beta2": np.nan}, "beta2 must be from 0 to 1; got nan"),
        ({"ratio": 0.5}, "ratio must be at least 1 and finite; got 0.5"),
        ({"prune": 1.0}, "prune must be from 0 to below 1; got 1.0"),
        ({"anneal": 0.6}, "anneal must be from 0 to 0.5; got 0.6"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        ES(**options)  # type: ignore[arg-type]


def test_a_choice_of_everything_is_told() -> None:
    with pytest.warns(UserWarning, match="chooses every sample of every sweep"):
        ES(ratio=1).build(Plan(60, epochs=4, budget=0.5))
