from __future__ import annotations

import numpy as np
import pytest
from augment_keys import keys_of

from pipeline.augment.beta import check_alpha, draw_beta, symmetric_beta
from pipeline.errors import DataError


def cumulative(alpha: float, x: np.ndarray) -> np.ndarray:
    """P(X <= x) of Beta(alpha, alpha), by integrating over t = s**(1/alpha), where the pole at 0 is gone."""

    def lower(y: np.ndarray) -> np.ndarray:
        middle = (np.arange(4000) + 0.5) / 4000 * (y**alpha)[:, None]
        return ((1 - middle ** (1 / alpha)) ** (alpha - 1)).mean(axis=1) * y**alpha / alpha

    half = lower(np.array([0.5]))[0]
    return np.where(x <= 0.5, lower(np.minimum(x, 0.5)), 2 * half - lower(np.minimum(1 - x, 0.5))) / (
        2 * half
    )


@pytest.mark.parametrize("alpha", [0.05, 0.3, 0.5, 0.51, 0.8, 1.0, 2.0, 20.0])
def test_follows_the_beta_distribution(alpha: float) -> None:
    n = 20_000
    values = np.sort(draw_beta(keys_of(n, seed=5), "b", alpha, per_sample=True))
    assert ((values >= 0) & (values <= 1)).all()
    grid = np.linspace(0.01, 0.99, 99)
    empirical = np.searchsorted(values, grid, side="right") / n
    # Kolmogorov-Smirnov: sqrt(n) * distance > 2.7 has p = 9e-7.
    assert np.abs(empirical - cumulative(alpha, grid)).max() * np.sqrt(n) < 2.7
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(values.mean() - 0.5) < 5 * np.sqrt(variance / n)
    assert abs(values.var() - variance) < 5 * np.sqrt(variance / n) * 0.5


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_agrees_with_numpys_own(alpha: float) -> None:
    n = 20_000
    ours = np.sort(draw_beta(keys_of(n, seed=5), "b", alpha, per_sample=True))
    theirs = np.sort(np.random.default_rng(1).beta(alpha, alpha, n))
    both = np.concatenate([ours, theirs])
    distance = np.abs(np.searchsorted(ours, both, "right") - np.searchsorted(theirs, both, "right")).max() / n
    assert distance * np.sqrt(n / 2) < 2.7


def test_one_a_batch_is_the_same_for_all_and_differs_from_step_to_step() -> None:
    values = [draw_beta(keys_of(4, step, seed=5), "b", 0.3, per_sample=False) for step in range(50)]
    assert all((row == row[0]).all() and row.shape == (4,) for row in values)
    assert len({row[0] for row in values}) == 50


def test_a_rejection_moves_nobody_elses_number() -> None:
    whole = draw_beta(keys_of(5000, seed=5), "b", 0.5, per_sample=True)
    assert (draw_beta(keys_of(10, seed=5), "b", 0.5, per_sample=True) == whole[:10]).all()


def test_goes_on_until_every_row_is_accepted() -> None:
    asked: list[int] = []

    def draw(first: int, count: int) -> np.ndarray:
        asked.append(first)
        rejected, accepted = np.full(count, 1e-9), np.full(count, 1 - 1e-3)
        return np.stack([accepted, accepted if first else rejected])

    assert symmetric_beta(0.5, draw) == pytest.approx([0.5, 0.5])
    assert asked == [0, 16]


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_parameters_without_a_distribution_are_refused(wrong: float) -> None:
    with pytest.raises(DataError, match="alpha must be above 0 and finite"):
        check_alpha(wrong)


def test_the_smallest_parameter_gives_shares_and_what_is_below_is_refused() -> None:
    uniforms = np.random.default_rng(0).random((100, 64))
    shares = symmetric_beta(1e-6, lambda first, count: uniforms[:, first : first + count])
    assert set(np.round(shares, 3).tolist()) == {0.0, 1.0}
    with pytest.raises(
        DataError, match=r"alpha must be at least 1e-06; got 9\.99989e-321: below that, every"
    ):
        check_alpha(1e-320)


def test_an_empty_batch_draws_nothing() -> None:
    for alpha in (0.3, 1.0):
        assert draw_beta(keys_of(0, seed=5), "b", alpha, per_sample=True).shape == (0,)
        assert draw_beta(keys_of(0, seed=5), "b", alpha, per_sample=False).shape == (0,)
