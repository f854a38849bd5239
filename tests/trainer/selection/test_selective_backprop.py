"""selective_backprop and its exact relative, against counting in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from trainer.errors import RunError
from trainer.selection import Candidates, Setting, Terms
from trainer.selection.selective_backprop import SelectiveBackprop
from trainer.selection.selective_backprop_exact import SelectiveBackpropExact


@pytest.mark.parametrize("size", [7, 40])
def test_keeps_by_the_share_of_the_last_r_losses(
    setting: Callable[..., Setting], pool: Callable[..., Candidates], size: int
) -> None:
    """Pools smaller and larger than the history, so that the ring is partly filled, wraps and is overrun."""
    rng = np.random.default_rng(1)
    selection = SelectiveBackprop(beta=1.7, history=25).build(setting(4))
    past: list[float] = []
    for _ in range(12):
        losses = rng.integers(0, 12, size).astype(np.float32)
        uniforms = rng.random(size, np.float32)
        past = (past + losses.tolist())[-25:]
        expected = [
            i
            for i, (loss, u) in enumerate(zip(losses, uniforms, strict=True))
            if u < (sum(other <= loss for other in past) / len(past)) ** 1.7
        ]
        assert selection.choose(pool(losses, uniforms)).indices.tolist() == expected


@pytest.mark.parametrize(("keep", "beta"), [(0.2, 4.0), (0.3, 2.3333), (0.5, 1.0)])
def test_keeps_the_budget_on_average(
    setting: Callable[..., Setting], pool: Callable[..., Candidates], keep: float, beta: float
) -> None:
    part = SelectiveBackprop(keep=keep)
    assert part.power == pytest.approx(beta, rel=1e-4)
    assert SelectiveBackprop().bind(Terms(keep, 200, 128)).power == part.power
    assert part.ratio == pytest.approx(1 / keep)
    assert SelectiveBackprop(beta=beta).ratio == pytest.approx(1 / keep, rel=1e-4)
    rng = np.random.default_rng(2)
    selection = part.build(setting(4))
    selection.choose(pool(rng.exponential(size=1024), rng.random(1024, np.float32)))
    n, pools = 100, 200
    kept = sum(
        len(selection.choose(pool(rng.exponential(size=n), rng.random(n, np.float32))).indices)
        for _ in range(pools)
    )
    # E[F^beta] over ranks 1/R .. 1 of R = 1024; the spread is at most that of coin tosses, as ranks even out.
    expected = n * pools * np.mean((np.arange(1, 1025) / 1024) ** part.power)
    assert abs(kept - expected) < 4.9 * np.sqrt(n * pools * keep * (1 - keep))


@pytest.mark.parametrize(("budget", "start"), [(0.2, 0.025), (0.3, 1 / 60), (0.5, 0.01)])
def test_the_first_epoch_is_trained_as_it_comes(budget: float, start: Any) -> None:
    """N of T * N * B trained samples, T = 200: Arazo et al. (2021), section 3."""
    part = SelectiveBackprop().bind(Terms(budget, 200, 128))
    assert part.start == pytest.approx(start)
    assert not part.on(0, start - 1e-6)
    assert part.on(0, start)


def test_what_is_given_does_not_follow_the_run() -> None:
    terms = Terms(0.2, 200, 128)
    assert SelectiveBackprop(keep=0.4, start=0.1).bind(terms) == SelectiveBackprop(keep=0.4, start=0.1)
    assert SelectiveBackprop(beta=1.0).bind(terms).ratio == 2
    assert SelectiveBackprop(beta=1.0).bind(Terms(1.0, 200, 128)).ratio == 2


@pytest.mark.parametrize(
    ("terms", "line"),
    [
        (
            Terms(1.0, 200, 128),
            "a budget of 1 leaves nothing to select: lower --budget, or give --selection.keep",
        ),
        (
            Terms(0.25, 4, 128),
            r"got None, which is 1 of 0\.25 of 4 epochs: give --selection\.start 0, or train",
        ),
        (Terms(0.1, 2, 128), r"which is 5 of 0\.1 of 2 epochs"),
    ],
)
def test_a_run_that_leaves_nothing_to_select_is_refused(terms: Any, line: str) -> None:
    with pytest.raises(RunError, match=line):
        SelectiveBackprop().bind(terms)


def test_exact_draws_by_midpoint_percentiles(
    deviation: Callable[[ArrayLike, ArrayLike], float],
    setting: Callable[..., Setting],
    pool: Callable[..., Candidates],
) -> None:
    losses = np.array([0.4, 2.5, 0.1, 2.0, 1.0])
    ranks = np.argsort(np.argsort(losses))
    weights = ((ranks + 0.5) / 5) ** (1 / 0.2 - 1)
    part = SelectiveBackpropExact(keep=0.2)
    assert part.ratio == pytest.approx(5)
    selection = part.build(setting(1))
    rows = 8000
    counts = np.zeros(5)
    for row in np.random.default_rng(3).random((rows, 5), np.float32):
        counts[selection.choose(pool(losses, row)).indices.item()] += 1  # type: ignore[index]
    expected = rows * weights / weights.sum()
    likely = expected > 5
    observed = np.append(counts[likely], counts[~likely].sum())
    assert deviation(observed, np.append(expected[likely], expected[~likely].sum())) < 4.75


def test_exact_defaults_are_on_at_every_other_step_in_the_middle() -> None:
    part = SelectiveBackpropExact()
    on = [part.on(step, step / 100) for step in range(101)]
    assert on == [50 <= step < 90 and step % 2 == 0 for step in range(101)]
