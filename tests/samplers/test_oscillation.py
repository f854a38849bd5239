"""Oscillation of rounds' volumes: PODS, as an option of a plan and so of every order sampler."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sampler_runs import assert_same, run, sampler_of, small_plan

from samplers import PSGD, RS2, SAMPLERS, Plan, SamplingError, Scan
from samplers.protocol import has_whole_epochs
from samplers.service import Service

pytestmark = pytest.mark.filterwarnings("ignore::samplers.errors.SamplingWarning")

OSCILLATING = [name for name, part in SAMPLERS.items() if not has_whole_epochs(part)]


def _reference(total: int, rounds: int, depth: Fraction, phase: int) -> list[int]:
    """Return the rounds' volumes, one after another: the mean times (1 - d) or (1 + d), to the total."""
    factors = [1 - depth if number // phase % 2 == 0 else 1 + depth for number in range(rounds)]
    mean, ends = Fraction(total) / sum(factors), [Fraction(0)]
    for factor in factors:
        ends.append(ends[-1] + mean * factor)
    edges = [int(end) for end in ends]
    return [after - before for before, after in itertools.pairwise(edges)]


@given(
    samples=st.integers(1, 300),
    epochs=st.floats(0.5, 40),
    budget=st.floats(0.05, 0.6),
    depth=st.fractions(0, Fraction(9, 10), max_denominator=1000),
    phase=st.integers(1, 5),
)
@settings(deadline=None, max_examples=200)
def test_volumes_are_those_of_the_equation_and_add_up(
    samples: int, epochs: float, budget: float, depth: Fraction, phase: int
) -> None:
    assume(round(samples * epochs * budget) >= 1)
    options: dict[str, Any] = {"oscillation": float(depth), "oscillation_rounds": phase if depth else 1}
    try:
        plan = Plan(samples, epochs, budget, **options)
    except SamplingError:
        assume(False)  # a high round of more than all samples
    sizes = [plan.size(number) for number in range(plan.rounds)]
    assert sum(sizes) == plan.total == round(samples * epochs * budget)
    assert sizes == _reference(plan.total, plan.rounds, depth, phase if depth else 1)
    assert min(sizes) >= 1
    assert max(sizes) <= plan.largest
    for wanted in (0, 1, plan.total // 3, plan.total):
        rounds = plan.rounds_within(wanted)
        assert plan.before(rounds) >= wanted
        assert rounds == 0 or plan.before(rounds - 1) < wanted


def test_half_the_depth_of_a_third() -> None:
    plan = Plan(1000, epochs=6, budget=0.3, oscillation=0.5)
    assert [plan.size(number) for number in range(6)] == [150, 450] * 3
    plan = Plan(1000, epochs=6, budget=0.3, oscillation=0.5, oscillation_rounds=3)
    assert [plan.size(number) for number in range(6)] == [150] * 3 + [450] * 3
    # An incomplete period: 1,200 samples in rounds of 1 - d, 1 + d, 1 - d and 1 + d, 1 - d.
    plan = Plan(1000, epochs=5, budget=0.3, oscillation=0.5)
    assert [plan.size(number) for number in range(5)] == [166, 500, 167, 500, 167]


@pytest.mark.parametrize("name", OSCILLATING)
def test_every_sampler_oscillates_at_the_same_total(name: str) -> None:
    plan = small_plan(oscillation=0.5, batch_size=4)
    orders = run(sampler_of(name, plan))
    sizes = [len(order.ids) for order in orders]
    assert sum(sizes) == plan.steps * 4
    for number, size in enumerate(sizes):
        assert abs(size - (36 if number % 2 else 12)) < 4
    # Resumed after four rounds, it goes on the same.
    first, other = sampler_of(name, plan), sampler_of(name, plan)
    run(first, 4)
    other.load_state_dict(first.state_dict())
    assert_same(run(other), orders[4:])


def test_a_state_of_rounds_of_one_volume_is_refused() -> None:
    state = sampler_of("uniform", small_plan()).state_dict()
    with pytest.raises(SamplingError, match=r"oscillation 0\.5 in phases of 1"):
        sampler_of("uniform", small_plan(oscillation=0.5, batch_size=4)).load_state_dict(state)


def test_a_process_has_room_for_high_rounds() -> None:
    plan = Plan(100, epochs=4, budget=0.5, oscillation=0.9)
    with Service(RS2().build(plan), plan, mode="process") as service:
        sizes = [len(service.next_order().ids) for _ in range(service.rounds)]
    assert sum(sizes) == 200
    assert sizes == [5, 95, 5, 95]


def test_low_rounds_hold_a_batch() -> None:
    plan = Plan(1000, epochs=40, budget=0.1, batch_size=64, oscillation=0.5)
    assert plan.rounds == 31  # rounds of 129 on average: half of that is a batch
    assert plan.notes == (
        "a round holds at least one batch of 64 samples; 40 rounds of 50 would not: 31 rounds instead",
    )
    orders = run(sampler_of("uniform", plan))
    assert min(len(order.ids) for order in orders) >= 64


def test_high_rounds_that_hold_the_set_are_told_for_weights() -> None:
    plan = Plan(100, epochs=40, budget=0.625, oscillation=0.6)
    assert PSGD().build(dataclasses.replace(plan, oscillation=0.5)).notes == ()
    with pytest.warns(UserWarning, match="a round of 100 samples drawn without replacement"):
        PSGD().build(plan)


def test_an_oscillation_without_effect_is_told() -> None:
    plan = Plan(100, epochs=4, budget=0.5, oscillation=0.5, oscillation_rounds=4)
    assert [plan.size(number) for number in range(4)] == [50] * 4
    assert plan.notes == (
        "the volume oscillates after a phase of 4 rounds, and the run has 4, so that it has no effect: lower "
        "oscillation_rounds",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oscillation": 1.0}, "oscillation must be at least 0 and below 1.*; got 1"),
        ({"oscillation": -0.1}, "oscillation must be at least 0 and below 1.*; got -0.1"),
        ({"oscillation": np.nan}, "oscillation must be at least 0 and below 1.*; got nan"),
        ({"oscillation": 0.5, "oscillation_rounds": 0}, "oscillation_rounds must be at least 1; got 0"),
        ({"oscillation_rounds": 2}, "oscillation is 0; got 2: set oscillation, or leave it out"),
        ({"oscillation": 0.5, "budget": 0.8}, "oscillation 0.5 around 80 makes it 120: lower oscillation"),
    ],
)
def test_what_cannot_oscillate_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        Plan(**{"samples": 100, "epochs": 4, "budget": 0.5, **options})


def test_scan_does_not_oscillate() -> None:
    with pytest.raises(SamplingError, match="oscillation must be 0 for scan, whose rounds are whole epochs"):
        Scan().build(Plan(100, epochs=4, budget=0.5, oscillation=0.5))
