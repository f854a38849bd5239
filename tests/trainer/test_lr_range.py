"""The learning rate range test: which rates it calls useful, and what it trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.lr_range import RangeOptions, range_test, smooth, useful
from trainer.recipe import from_table


def test_smoothing_is_a_moving_average_corrected_for_its_beginning() -> None:
    assert smooth(np.full(50, 3.0)) == pytest.approx(np.full(50, 3.0))
    losses = np.array([4.0, 2.0, 1.0])
    weights = [[1], [0.9, 1], [0.81, 0.9, 1]]
    expected = [np.average(losses[: len(row)], weights=row) for row in weights]  # type: ignore[arg-type, call-overload]
    assert smooth(losses) == pytest.approx(expected)


def test_useful_rates_are_from_where_the_loss_falls_to_where_it_rises_again() -> None:
    steps = np.arange(201)
    rates = 1e-3 * 1000 ** (steps / 200)
    losses = np.full(201, 2.0)
    losses[50:150] = np.linspace(2, 0.5, 100)
    losses[150:] = 0.5 + 0.1 * (steps[150:] - 149)
    lowest, highest = useful(rates, losses)
    assert lowest is not None
    assert highest is not None
    assert rates[50] < lowest < rates[60]
    assert rates[150] < highest < rates[165]
    assert useful(rates[:150], losses[:150]) == (lowest, None)
    assert useful(rates, steps.astype(float)) == (None, None)


def test_a_recipe_is_tested_with_its_own_parts_and_leaves_nothing_but_the_result(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    table = {
        "data": str(tiny()),
        "model": {"name": "resnet8", "width": 4},
        "optimizer": {"name": "sgd", "momentum": 0.9},
        "batch_size": 16,
        "budget": 0.1,
        "sampler": "p_sgd",
        "device": "cpu",
        "precision": "fp64",
        "threads": 1,
        "runs_dir": str(tmp_path / "runs"),
    }
    seen: list[tuple[int, int]] = []
    options = RangeOptions(first=1e-3, last=1e2, steps=30, samples=20)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run = from_table(table, "test")
    result = range_test(run, options, scratch, lambda *_: None, lambda *at: seen.append(at))
    made = len(result.rates)
    assert seen == [(step, 31) for step in range(1, made + 1)]
    assert result.rates == pytest.approx(1e-3 * 1e5 ** (np.arange(made) / 30))
    assert np.isfinite(result.held_out).all()
    # Of two classes, before anything is learned.
    assert result.held_out[0] == pytest.approx(math.log(2), abs=0.5)
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"first": 0.0}, "first must be above 0 and below last"),
        ({"first": 2.0}, "first must be above 0 and below last, both learning rates; got 2 and 1"),
        ({"steps": 3}, "steps must be at least 10 to show a curve; got 3"),
        ({"samples": 1}, "samples must be at least 2 images, for batch normalization; got 1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], line: str) -> None:
    with pytest.raises(RunError, match=line):
        RangeOptions(**options)  # type: ignore[arg-type]
