"""Notes of samplers on options without effect under their plan."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from samplers import (
    CSGD,
    DIHCL,
    PSGD,
    RS2,
    SAMPLERS,
    UCB,
    EpsilonGreedy,
    LossProportional,
    LossRank,
    Plan,
    PredictionVariance,
    SamplingError,
    SamplingWarning,
    Scan,
    Subset,
    Uniform,
)
from samplers.service import Service

WITHOUT_REPLACEMENT = [
    PSGD(),
    CSGD(),
    DIHCL(),
    PredictionVariance(replacement=False),
    LossProportional(replacement=False),
    LossRank(replacement=False),
]


def _name(part: Any) -> Any:
    return type(part).__name__


@pytest.mark.parametrize("part", WITHOUT_REPLACEMENT, ids=_name)
def test_rounds_as_long_as_the_set_are_told_where_weights_decide_nothing(part: Any) -> None:
    with pytest.warns(SamplingWarning, match="takes each once, weights have no effect: lower the budget"):
        sampler = part.build(Plan(100, epochs=30, budget=1.0))
    assert len(sampler.notes) == 1
    assert part.build(Plan(100, epochs=60, budget=0.99)).notes == ()


@pytest.mark.parametrize("part", WITHOUT_REPLACEMENT, ids=_name)
def test_rounds_longer_than_the_set_are_told_how_much_weights_decide(part: Any) -> None:
    # 2.4 epochs in two rounds.
    expected = "120 samples drawn without replacement from 100 takes each once, only 20 of them by weight"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        part.build(Plan(100, epochs=2.4))
    assert expected in str(told[-1].message)


@pytest.mark.parametrize(
    "part", [PredictionVariance(), LossProportional(), LossRank(), Uniform(), RS2(), Scan()]
)
def test_draws_with_replacement_and_without_weights_have_nothing_to_tell_at_full_budget(part: Any) -> None:
    assert part.build(Plan(100, epochs=30, budget=1.0)).notes == ()


@pytest.mark.parametrize("part", [UCB(), EpsilonGreedy()], ids=_name)
def test_pruning_that_selects_everything_is_told(part: Any) -> None:
    with pytest.warns(SamplingWarning, match="selects all of 100, so that scores have no effect"):
        part.build(Plan(100, epochs=4, budget=1.0))
    assert part.build(Plan(100, epochs=4, budget=0.5)).notes == ()


def test_a_subset_of_everything_is_told() -> None:
    for part, budget in ((Subset(), 1.0), (Subset(keep=1.0), 0.3)):
        with pytest.warns(SamplingWarning, match="the subset holds all 100 samples"):
            part.build(Plan(100, epochs=4, budget=budget))


def test_a_service_shows_its_samplers_notes_wherever_that_runs() -> None:
    plan = Plan(100, epochs=4, budget=1.0)
    with pytest.warns(SamplingWarning):
        sampler = PSGD().build(plan)
    for mode in ("inline", "thread"):
        with Service(sampler, plan, mode=mode) as service:
            assert service.notes == sampler.notes != ()


def test_the_notes_of_a_plain_run_are_none() -> None:
    plan = Plan(1000, epochs=200, budget=0.3, batch_size=50, labels=np.arange(1000) % 10)
    assert {name: SAMPLERS[name]().build(plan).notes for name in SAMPLERS} == dict.fromkeys(SAMPLERS, ())  # type: ignore[attr-defined]


def test_a_plan_tells_of_fewer_rounds_than_asked_for() -> None:
    plan = Plan(1000, epochs=200, budget=0.05, batch_size=128)
    assert (plan.rounds, plan.steps) == (78, 78)
    assert plan.notes == (
        "a round holds at least one batch of 128 samples; 200 rounds of 50 would not: 78 rounds instead",
    )
    assert Plan(1000, epochs=200, budget=0.128, batch_size=128).notes == ()


def test_scan_has_no_round_for_what_is_left_after_the_last_batch() -> None:
    # 2,010 samples: 15 batches of 128 end within two epochs, and 90 samples are left.
    sampler = Scan().build(Plan(1000, epochs=2.01, batch_size=128))
    assert [len(sampler.next_order().ids) for _ in range(sampler.rounds)] == [896, 1024]


def test_a_budget_without_a_batch_is_refused() -> None:
    with pytest.raises(
        SamplingError, match=r"at least one batch of 128; 0\.05 of 2 epochs of 1,000 samples is 100"
    ):
        Plan(1000, epochs=2, budget=0.05, batch_size=128)
