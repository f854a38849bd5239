"""gradient_norm: unbiased weights, the distribution, and when it pays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from pipeline import Batch
from trainer.methods import Losses
from trainer.selection import Candidates, Setting
from trainer.selection.gradient_norm import GradientNorm


def norms_of(losses: np.ndarray) -> np.ndarray:
    """Errors as the pool's losses have them."""
    return 2 * losses.astype(np.float32).astype(float) + 1


def test_weights_are_inverse_probabilities_and_unbiased(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    deviation: Callable[[ArrayLike, ArrayLike], float],
) -> None:
    losses = np.array([0.1, 4.0, 0.7, 2.0, 0.0, 1.0])
    p = norms_of(losses) / norms_of(losses).sum()
    selection = GradientNorm().build(setting(2))
    counts, means = np.zeros(6), []
    rows = 4000
    for row in np.random.default_rng(1).random((rows, 6), np.float32):
        choice = selection.choose(pool(losses, row))
        indices = choice.indices.numpy()
        np.testing.assert_allclose(choice.weights.numpy(), 1 / (6 * p[indices]), rtol=1e-5)
        counts += np.bincount(indices, minlength=6)
        means.append((losses[indices] * choice.weights.numpy()).mean())
    assert deviation(counts, p * counts.sum()) < 4.75
    assert abs(np.mean(means) - losses.mean()) < 4.9 * np.std(means) / np.sqrt(rows)


def test_tau_is_the_moving_average_of_the_papers_estimate(
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
    told: Callable[..., Losses],
    plain: Callable[[int], Batch],
) -> None:
    rng = np.random.default_rng(2)
    selection = GradientNorm(smoothing=0.8).build(setting(4))
    tau = 0.0
    for step in range(20):
        losses = rng.exponential(size=12 if step % 3 else 4)
        g = norms_of(losses) / norms_of(losses).sum()
        u = np.full(len(g), 1 / len(g))
        gain = (1 - ((g - u) ** 2).sum() / (g**2).sum()) ** -0.5
        tau = 0.8 * tau + 0.2 * gain
        if step % 3:
            choice = selection.choose(pool(losses, rng.random(12, np.float32)))
            selection.observe(told(losses[:4]), plain(4), choice)
        else:
            selection.observe(told(losses), plain(4), None)
        assert selection.state_dict()["tau"].item() == pytest.approx(tau, rel=1e-5)


def test_is_on_while_it_pays_as_last_read(
    setting: Callable[..., Setting], told: Callable[..., Losses], plain: Callable[[int], Batch]
) -> None:
    alone = plain(50)
    # One large norm among 50: tau is near sqrt(50 * sum P^2), far above 2; equal norms give 1.
    uneven = told(np.append(np.full(49, -0.499), 100.0))
    even = told(np.ones(50))
    selection = GradientNorm(check_every=5, smoothing=0.0).build(setting(50))
    assert GradientNorm().bar == pytest.approx((3 + 3) / 3)
    assert GradientNorm(ratio=6.0).bar == pytest.approx((6 + 3) / 3)
    course = []
    for step in range(20):
        selection.observe(uneven if 3 <= step < 12 else even, alone, None)
        course.append(selection.on(step, 0.5))
    assert course == [False] * 4 + [True] * 10 + [False] * 6


def test_perfect_predictions_are_drawn_uniformly(
    setting: Callable[..., Setting], pool: Callable[..., Candidates], told: Callable[..., Losses]
) -> None:
    selection = GradientNorm().build(setting(4))
    choice = selection.choose(pool(np.full(8, -0.5), np.linspace(0, 0.99, 8)))
    assert choice.weights.tolist() == [1.0] * 4
    assert selection.state_dict()["tau"].item() == pytest.approx(0.1)
    assert choice.indices.tolist() == [0, 1, 2, 3]
