"""Contract suite of schedules, at their defaults."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest

from trainer.schedules import SCHEDULES, ScheduleConfig

EPOCHS = 60.0


@pytest.fixture(params=SCHEDULES)
def part(request: pytest.FixtureRequest) -> ScheduleConfig:
    return SCHEDULES[request.param]()


def test_is_a_frozen_dataclass_with_a_description(part: ScheduleConfig) -> None:
    assert dataclasses.is_dataclass(part)
    assert type(part).__doc__.splitlines()[0].endswith(".")
    assert hash(part) == hash(type(part)())


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 1000])
def test_factors_and_momenta_stay_in_range(part: ScheduleConfig, steps: int) -> None:
    schedule = part.bind(EPOCHS)
    for step in range(steps):
        progress = step / max(1, steps - 1)
        assert 0 <= schedule.factor(progress) <= 1
        momentum = schedule.momentum(progress)
        assert (momentum is not None) == schedule.moves_momentum
        assert momentum is None or 0 <= momentum < 1


def test_peaks_at_the_base_rate(part: ScheduleConfig) -> None:
    schedule = part.bind(EPOCHS)
    factors = [schedule.factor(step / 60_000) for step in range(60_001)]
    assert math.isclose(max(factors), 1, rel_tol=1e-6)


def test_falls_from_its_peak_without_rising_again(part: ScheduleConfig) -> None:
    schedule = part.bind(EPOCHS)
    factors = [schedule.factor(step / 999) for step in range(1000)]
    peak = factors.index(max(factors))
    assert all(a <= b for a, b in pairwise(factors[: peak + 1]))
    assert all(a >= b for a, b in pairwise(factors[peak:]))


def test_bind_depends_on_its_argument_alone(part: ScheduleConfig) -> None:
    assert part.bind(EPOCHS) == part.bind(EPOCHS)
    dataclasses.replace(part).bind(200.0)  # type: ignore[type-var]
    assert part == type(part)()
