"""Spread, maximum mean accuracy and speed-up factor, against the paper's definitions written out slowly."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.reporting.lineup import Lineup
from tools.reporting.mean_curve import Curve, curve, percentiles
from tools.reporting.speedup import factor

OURS = {"sampler": {"name": "sample_importance"}}


def slow_factor(baseline: list[list[int]], other: list[list[int]], tolerance: int) -> Fraction | None:
    """Equation 3 of the sample-importance paper in whole ten-thousandths; one row per run."""
    mean_b = [Fraction(sum(column), len(column)) for column in zip(*baseline, strict=True)]
    mean_n = [Fraction(sum(column), len(column)) for column in zip(*other, strict=True)]
    a_b = max(mean_b)
    t_b = min(t for t, accuracy in enumerate(mean_b, start=1) if accuracy == a_b)
    fitting = [t for t, accuracy in enumerate(mean_n, start=1) if t <= t_b and accuracy >= a_b - tolerance]
    return Fraction(t_b, min(fitting)) if fitting else None


def as_curve(runs: list[list[int]]) -> Curve:
    steps = np.arange(1.0, len(runs[0]) + 1) * 390
    return Curve(steps, np.arange(1.0, len(runs[0]) + 1), np.array(runs) / 10_000)


@st.composite
def two_groups(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    steps = draw(st.integers(1, 8))
    runs = st.lists(st.lists(st.integers(9000, 9100), min_size=steps, max_size=steps), min_size=1, max_size=4)
    return draw(runs), draw(runs)


@given(two_groups(), st.integers(0, 100))
def test_the_factor_is_equation_3(groups: tuple[list[list[int]], list[list[int]]], tolerance: int) -> None:
    expected = slow_factor(*groups, tolerance)
    found = factor(*(as_curve(runs) for runs in groups), tolerance / 10_000)  # type: ignore[arg-type, call-arg]
    assert found == (None if expected is None else pytest.approx(float(expected)))


def test_a_baseline_that_falls_after_its_maximum_is_measured_at_the_maximum() -> None:
    baseline = as_curve([[8000, 9000, 9500, 9400]])
    other = as_curve([[9400, 9450, 9450, 9500]])
    assert factor(baseline, other, 0) is None  # it gets there only after t_b
    assert factor(baseline, other, 0.005) == pytest.approx(3 / 2)
    assert factor(baseline, other, 0.01) == pytest.approx(3)
    assert factor(baseline, baseline, 0) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_percentiles_lie_between_the_nearest_runs_in_proportion(accuracies: list[float]) -> None:
    def slow(fraction: float) -> float:
        ordered = sorted(accuracies)
        place = fraction * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    assert percentiles(accuracies) == (pytest.approx(slow(0.16)), pytest.approx(slow(0.84)))  # type: ignore[comparison-overlap]


def test_a_mean_curve_is_over_finished_runs_and_the_rounds_that_all_evaluated(
    make_run: Callable[..., Path], lined_up: Callable[..., Lineup]
) -> None:
    runs = [
        make_run("a", {"seed": 0}, [0.5, 0.6, 0.7]),
        make_run("b", {"seed": 1}, [0.7, 0.8]),
        make_run("c", {"seed": 2}, [0.0, 0.0, 0.0], finished=False),
    ]
    found = curve(lined_up(*runs).groups[0])
    assert found is not None
    np.testing.assert_allclose(found.mean, [0.6, 0.7])
    np.testing.assert_array_equal(found.steps, [10, 20])
    assert curve(lined_up(runs[2]).groups[0]) is None


def test_a_report_has_all_measures_by_their_names(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    scan = [[0.80, 0.90, 0.94, 0.93], [0.82, 0.92, 0.96, 0.95], [0.81, 0.91, 0.95, 0.94]]
    ours = [[0.80, 0.94, 0.95, 0.96], [0.80, 0.95, 0.95, 0.96]]
    runs = [make_run(f"s{i}", {"seed": i}, one) for i, one in enumerate(scan)]
    runs += [make_run(f"o{i}", {**OURS, "seed": i}, one) for i, one in enumerate(ours)]
    source, rows = page(*runs)
    low, high = percentiles([0.93, 0.95, 0.94])
    spread = statistics.stdev([0.94, 0.96, 0.95])
    spreads = f"{100 * low:.2f}%, {100 * high:.2f}% 95.00% ± {100 * spread:.2f}, round 3"
    assert any(row.startswith(f"scan 3 94.00% 1.00 {spreads} ") for row in rows)
    # The baseline's mean is highest in round 3 (95.00); ours is at 94.50 in round 2, and at 95.00 in round 3.
    times = "\N{MULTIPLICATION SIGN}"
    assert f"scan 95.00%, round 3 30 1.00{times} 1.00{times} 1.00{times} 1.00{times} 1.00{times}" in rows
    assert (
        f"sample_importance 96.00%, round 4 40 1.00{times} 1.00{times} 1.00{times} 1.50{times} 1.50{times}"
        in rows
    )
    assert any(row.startswith("Speed-up t_b/t_n against scan") for row in rows)
    assert "speed-up-accuracy-title" in source
    assert any(row.startswith("First evaluation at 93.00% or above") for row in rows)
    assert "94.0% ± 1.0 over 3 seeds" in source  # the last round's is what is reported


def test_without_a_finished_baseline_there_is_no_speed_up(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    runs = [
        make_run("a", {}, [0.5], finished=False),
        make_run("b", OURS, [0.6]),
        make_run("c", {"lr": 1.0}, [0.6]),
    ]
    assert "Speed-up" not in page(*runs)[0]
    assert "Speed-up" not in page(runs[1])[0]
    assert "Speed-up" in page(runs[1], runs[2])[0]


def test_a_baseline_that_nobody_comes_near_is_not_drawn_alone(
    make_run: Callable[..., Path], page: Callable[..., tuple[str, list[str]]]
) -> None:
    """A flat line at 1 shows nothing; the table says that the others never get there."""
    runs = [make_run("a", {"seed": 0}, [0.9]), make_run("b", {"seed": 1}, [0.9]), make_run("c", OURS, [0.5])]
    source, rows = page(*runs)
    assert "sample_importance 50.00%, round 1 10 \N{EN DASH}" + 4 * " \N{EN DASH}" in rows
    assert "speed-up-title" not in source
    # Nor has a single run a spread.
    assert any(row.startswith("sample_importance 1 50.00% \N{EN DASH} \N{EN DASH} 50.00%") for row in rows)
