"""Ratios of measured times: their intervals, and what is not measurable."""

from __future__ import annotations

import random

import pytest

from tools.profiling.intervals import DRIFT, apart, drift, paired


def test_a_ratio_of_profiles_has_its_interval() -> None:
    twice = apart([2.0, 2.2, 2.1, 1.9], [1.0, 1.1, 1.05, 0.95])
    assert twice.speedup == pytest.approx(2.0, rel=0.05)
    assert twice.significant
    assert not apart([1.0, 2.0, 3.0], [1.1, 1.9, 3.2]).significant
    assert apart([1.0], [2.0]).low is None
    assert apart([1.0], [2.0]).text == "not measurable: 1 window is too few"


def test_windows_of_one_moment_do_not_hide_the_drift_between_profiles() -> None:
    rng = random.Random(0)
    one, other = ([level * rng.uniform(0.999, 1.001) for _ in range(60)] for level in (1.0, 0.96))
    assert not apart(one, other).significant
    assert apart(one, [0.9 * value for value in one]).significant
    # A level that moves within a profile may have moved as far before it.
    moving = [1 + 0.2 * turn / 60 for turn in range(60)]
    assert drift(moving) == pytest.approx(0.062, rel=0.1)
    assert not apart(moving, [0.9 * value for value in moving]).significant
    # So may one that was another while settings were tried.
    assert apart(one, [0.85 * value for value in one]).significant
    assert not apart(one, [0.85 * value for value in one], ([1.3, 1.2], [])).significant


def test_what_the_machine_itself_did_is_no_difference_of_profiles() -> None:
    rng = random.Random(0)
    one = [rng.uniform(0.999, 1.001) for _ in range(60)]
    slower = [2 * value for value in one]
    assert apart(one, slower).significant
    assert not apart(one, slower, machine=1 / 1.9).significant
    assert apart(one, slower, machine=1.02).significant


def test_turns_are_compared_in_pairs() -> None:
    base = [1.0, 2.0, 3.0, 4.0]
    found = paired(
        base, [value / 1.5 * wobble for value, wobble in zip(base, (1, 1.01, 0.99, 1), strict=True)]
    )
    assert found.significant
    assert found.speedup == pytest.approx(1.5, rel=0.01)
    assert paired(base[:2], base[:2]).text == "not measurable: 2 turns are too few"


@pytest.mark.parametrize("changed", [[1.0, 1e-12, 1e9], [1e-300, 1e300, 1.0]])
def test_an_interval_of_many_orders_is_not_measurable(changed: list[float]) -> None:
    found = paired([1.0, 1.0, 1.0], changed)
    assert (found.low, found.high, found.significant) == (None, None, False)
    assert found.text.startswith("not measurable: its times vary")


def test_an_interval_holds_its_median() -> None:
    found = paired([1.0] * 5, [1.0, 1.0, 1.0, 2.0, 2.0])
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.speedup <= found.high
    assert DRIFT > 0
