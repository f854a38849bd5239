"""Schedules against their equations, written out in steps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from trainer.errors import RunError
from trainer.schedules import (
    Constant,
    Cosine,
    FixedOneCycle,
    Linear,
    OneCycle,
    RangeTest,
    Rex,
    Step,
    WarmupCosine,
    WarmupLinear,
)

LENGTHS = [2, 3, 10, 201, 1024]


def factors(schedule: Any, steps: int) -> list[float]:
    return [schedule.factor(step / max(1, steps - 1)) for step in range(steps)]


def momenta(schedule: Any, steps: int) -> list[float | None]:
    return [schedule.momentum(step / max(1, steps - 1)) for step in range(steps)]


def test_linear_goes_from_the_papers_rate_to_its_floor_in_equal_steps() -> None:
    rates = [0.1 * factor for factor in factors(Linear(), 1001)]
    assert rates[0] == 0.1
    assert math.isclose(rates[-1], 1e-6, rel_tol=1e-12)
    falls = [a - b for a, b in pairwise(rates)]
    assert all(math.isclose(fall, (0.1 - 1e-6) / 1000, rel_tol=1e-9) for fall in falls)


def test_linear_to_another_floor() -> None:
    assert factors(Linear(final=0.5), 3) == [1, 0.75, 0.5]


def test_warmup_linear_is_the_records_of_96_percent() -> None:
    """Of 40 steps four warm up, from a fifth; a step past the last would have rate 0."""
    found = [WarmupLinear().factor(step / 40) for step in range(41)]
    assert found[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert found[4:] == pytest.approx([(40 - step) / 36 for step in range(4, 41)])
    assert WarmupLinear(final=0.25).factor(1.0) == 0.25


def test_linear_to_one_part_of_the_steps_falls_by_it_at_each() -> None:
    """airbench94's 200 steps: 1 - step / 200."""
    assert factors(Linear(final=1 / 200), 200) == pytest.approx([1 - step / 200 for step in range(200)])


def test_a_range_test_multiplies_the_rate_at_every_step() -> None:
    """Kocyigit (2023) A.3: from 1e-3 to 1 in 200 steps."""
    rates = factors(RangeTest(), 200)
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] == 1
    assert all(b / a == pytest.approx(1000 ** (1 / 199)) for a, b in pairwise(rates))


@pytest.mark.parametrize("third", [1, 2, 100])
def test_step_gives_each_third_one_rate(third: int) -> None:
    rates = factors(Step(), 3 * third)
    expected = [1.0] * third + [0.1] * third + [0.1**2] * third
    assert rates == pytest.approx(expected)


def test_step_at_the_milestones_of_sample_importance() -> None:
    schedule = Step(milestones=(0.3, 0.6, 0.8), gamma=0.2)
    epochs = [schedule.factor(epoch / 200) for epoch in (0, 59.9, 60, 119.9, 120, 159.9, 160, 200)]
    assert epochs == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008])


@pytest.mark.parametrize("steps", LENGTHS)
def test_cosine_is_equation_3_5(steps: Any) -> None:
    L = steps - 1
    expected = [0.5 * (math.cos(t / L * math.pi) + 1) for t in range(steps)]
    assert factors(Cosine(), steps) == pytest.approx(expected, abs=1e-12)
    assert factors(Cosine(final=0.01), steps)[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("warmup", [0.05, 0.1, 0.5])
def test_warmup_cosine_is_equation_3_6(steps: Any, warmup: float) -> None:
    L = steps - 1
    t_w = warmup * L

    def rate(t: float) -> float:
        return t / t_w if t < t_w else 0.5 * (math.cos((t - t_w) / (L - t_w) * math.pi) + 1)

    expected = [rate(t) for t in range(steps)]
    assert factors(WarmupCosine(warmup), steps) == pytest.approx(expected, abs=1e-12)
    assert factors(WarmupCosine(warmup, final=0.01), steps)[-1] == pytest.approx(0.01)


def one_cycle(t: float, t_w: float, L: float, low: float, high: float) -> tuple[float, float]:
    """Rate and momentum of Kocyigit (2023) eq. 3.7 and 3.8, which differ in where t_w comes from."""
    if t < t_w:
        rate = 1 - 0.5 * (math.cos(t / t_w * math.pi) + 1)
        return rate, low + 0.5 * (high - low) * (math.cos(t / t_w * math.pi) + 1)
    fall = math.cos((t - t_w) / (L - t_w) * math.pi) + 1
    return 0.5 * fall, high - 0.5 * (high - low) * fall


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("rho", [0.1, 0.3, 0.5])
def test_one_cycle_is_equation_3_7(steps: Any, rho: float) -> None:
    L = steps - 1
    expected = [one_cycle(t, rho * L, L, 0.85, 0.95) for t in range(steps)]
    assert factors(OneCycle(rho), steps) == pytest.approx([rate for rate, _ in expected], abs=1e-12)
    assert momenta(OneCycle(rho), steps) == pytest.approx([beta for _, beta in expected], abs=1e-12)


def test_one_cycle_with_torchs_ends() -> None:
    schedule = OneCycle(0.3, initial=1 / 25, final=4e-6)
    assert [schedule.factor(p) for p in (0, 0.3, 1)] == pytest.approx([1 / 25, 1, 4e-6])


@pytest.mark.parametrize("epochs", [12, 60, 200])
def test_fixed_one_cycle_is_equation_3_8_with_the_same_warm_up_in_every_run(epochs: int) -> None:
    a_epoch = 7
    steps = epochs * a_epoch + 1
    L, t_w = steps - 1, 10 * a_epoch
    expected = [one_cycle(t, t_w, L, 0.8, 0.9) for t in range(steps)]
    schedule = FixedOneCycle(10, low_momentum=0.8, high_momentum=0.9).bind(epochs)
    assert factors(schedule, steps) == pytest.approx([rate for rate, _ in expected], abs=1e-9)
    assert momenta(schedule, steps) == pytest.approx([beta for _, beta in expected], abs=1e-9)


def test_fixed_one_cycle_keeps_its_ends() -> None:
    schedule = FixedOneCycle(10, initial=0.2, final=0.1).bind(40)
    assert [schedule.factor(p) for p in (0, 0.25, 1)] == pytest.approx([0.2, 1, 0.1])


@pytest.mark.parametrize("epochs", [3, 10])
def test_fixed_one_cycle_refuses_a_run_shorter_than_its_warm_up(epochs: int) -> None:
    with pytest.raises(RunError, match=f"trains for {epochs} epochs; got 10: .* one_cycle"):
        FixedOneCycle().bind(epochs)


def test_rex_by_hand() -> None:
    assert factors(Rex(), 3) == pytest.approx([1, 0.5 / 0.75, 0])
    assert factors(Rex(), 5)[1] == pytest.approx(0.75 / (0.5 + 0.375))


def test_constant_is_the_base_rate_to_the_end() -> None:
    assert factors(Constant(), 4) == [1, 1, 1, 1]


@pytest.mark.parametrize("schedule", [Step(), Linear(), Cosine(), WarmupCosine(), Rex(), Constant()])
def test_only_the_cycles_touch_momentum(schedule: Any) -> None:
    assert momenta(schedule, 3) == [None, None, None]
    assert schedule.bind(3) is schedule


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (Step, {"milestones": (0.6, 0.3)}, r"milestones must increase within \(0, 1\)"),
        (Step, {"milestones": (0.5, 0.5)}, "milestones must increase"),
        (Step, {"milestones": (0.0, 0.5)}, "milestones must increase"),
        (Step, {"milestones": (0.5, 1.0)}, "milestones must increase"),
        (Step, {"gamma": 0}, "gamma must be above 0"),
        (Step, {"gamma": 1.5}, "gamma must be above 0 and at most 1; got 1.5"),
        (Linear, {"final": -1e-6}, "final must be within"),
        (Linear, {"final": math.nan}, "final must be within"),
        (Cosine, {"final": 1.1}, "final must be within"),
        (WarmupCosine, {"warmup": 0}, "warmup must be within"),
        (WarmupCosine, {"warmup": 1}, "warmup must be within"),
        (WarmupCosine, {"final": 2}, "final must be within"),
        (OneCycle, {"warmup": 1.0}, "warmup must be within"),
        (OneCycle, {"initial": -1}, "initial must be within"),
        (OneCycle, {"final": 2}, "final must be within"),
        (OneCycle, {"low_momentum": 0.95, "high_momentum": 0.85}, "got 0.95 and 0.85"),
        (OneCycle, {"high_momentum": 1.0}, "must rise within"),
        (FixedOneCycle, {"warmup": 0}, "warmup must be above 0 epochs; got 0"),
        (FixedOneCycle, {"warmup": math.nan}, "warmup must be above 0 epochs"),
        (FixedOneCycle, {"initial": -1}, "initial must be within"),
        (FixedOneCycle, {"low_momentum": -0.1}, "must rise within"),
        (RangeTest, {"first": 0.0}, "first must be within"),
        (RangeTest, {"first": 1.0}, "first must be within"),
    ],
)
def test_options_are_checked(part: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        part(**options)
    assert "\n" not in str(error.value)
