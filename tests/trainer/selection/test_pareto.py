"""The Pareto model against its equation, and its best ratio against a search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.selection.pareto import Pareto


def test_shares_are_those_of_equation_4_5() -> None:
    model = Pareto(alpha=1.16, x_min=5.0)
    # The rule that the distribution is known for: a fifth holds four fifths.
    assert model.fraction(20) == pytest.approx(0.8, abs=1e-3)
    for x in (6.0, 33.0, 100.0):
        assert model.fraction(x) == pytest.approx(1 - (5 / x) ** 1.16)
    assert model.fraction(5) == 0
    assert model.fraction(2) == 0


@pytest.mark.parametrize("cost", [0.0, 0.05, 1 / 3])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 7.5])
def test_speed_up_is_use_gained_over_what_it_costs(cost: Any, ratio: float) -> None:
    """A pool of 1,000: all are scored, the best are trained on; uniform training gains use at cost 1 each."""
    model = Pareto(alpha=1.3, x_min=4.0)
    trained = 1000 / ratio
    spent = trained + 1000 * cost
    use = 1 - (4.0 / (100 * trained / 1000)) ** 1.3
    assert model.speed_up(ratio, cost) == pytest.approx(use * 1000 / spent)


def test_defaults_stand_by_the_published_speed_up() -> None:
    """Kocyigit (2023) reports 1.3 to 1.7 times fewer steps at ratio 2, where scoring adds 10.5%."""
    assert 1.3 < Pareto().speed_up(2, 0.105 / 2) < 1.7


@pytest.mark.parametrize("alpha", [0.4, 1.16, 3.0])
@pytest.mark.parametrize("x_min", [0.5, 6.0, 40.0])
@pytest.mark.parametrize("cost", [0.0, 0.05, 1 / 3])
def test_no_ratio_beats_the_best_one(alpha: float, x_min: float, cost: Any) -> None:
    model = Pareto(alpha, x_min)
    ratios = np.linspace(1, max(1.001, 100 / x_min), 4001)
    best = model.best_ratio(cost)
    assert best >= 1
    assert model.speed_up(best, cost) >= max(model.speed_up(ratio, cost) for ratio in ratios) - 1e-12


def test_the_best_ratio_where_scoring_is_free_has_a_closed_form() -> None:
    for alpha, x_min in ((1.16, 6.0), (2.0, 10.0)):
        expected = 100 / x_min * (1 / (alpha + 1)) ** (1 / alpha)
        assert Pareto(alpha, x_min).best_ratio(0.0) == pytest.approx(expected)


def test_what_is_written_of_figure_4_5_holds() -> None:
    """Larger ratios pay up to a point, cheap scoring moves it, and a larger alpha gains more."""
    model = Pareto()
    best = model.best_ratio(0.05)
    assert 2 < best < 100 / 6
    assert model.speed_up(2, 0.05) < model.speed_up(best, 0.05) > model.speed_up(best + 4, 0.05)
    assert model.best_ratio(0.01) > best > model.best_ratio(1 / 3)
    better = Pareto(alpha=2.0)
    assert better.speed_up(better.best_ratio(0.05), 0.05) > model.speed_up(best, 0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"alpha": float("inf")}, "alpha must be above 0 and finite"),
        ({"x_min": 0.0}, "x_min must be above 0 and below 100"),
        ({"x_min": 100.0}, "x_min must be above 0 and below 100"),
        ({"x_min": float("nan")}, "x_min must be above 0"),
    ],
)
def test_parameters_that_are_none_of_a_distribution_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError, match=message):
        Pareto(**options)
