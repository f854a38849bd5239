"""Hours to come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.studying.cells import Place, final_cells
from tools.studying.definition import read_study
from tools.studying.forecast import Forecast

Write = Callable[..., Path]


def test_predictions_come_from_the_nearest_that_is_known(write: Write, tmp_path: Path) -> None:
    study = read_study(str(write(after="budget = [0.1, 0.2]\n")))
    cells = {cell.name: cell for cell in final_cells(study, Place(tmp_path), {})}
    measured: dict[str, float] = {}
    forecast = Forecast(measured)
    one, again, more, other = (
        cells[f"{name}"]
        for name in (
            *("standard-uniform-0.1-s0", "standard-uniform-0.1-s1", "standard-uniform-0.2-s0"),
            "ricap-p_sgd-0.2-s0",
        )
    )
    assert forecast.seconds(again) is None
    assert forecast.left([again], [], 1) is None
    forecast.add(one, 10.0)
    assert forecast.seconds(again) == 10
    assert forecast.seconds(more) == pytest.approx(20)
    measured[other.name] = 50.0
    assert forecast.seconds(other) == 50
    assert forecast.left([again, other], [(more, 0.5, 9.0)], 2) == pytest.approx((10 + 50 + 10) / 2)
    assert forecast.left([], [(again, 0.25, 3.0)], 4) == pytest.approx(7.5)


def test_a_run_that_is_like_no_other_is_predicted_by_its_own_progress(write: Write, tmp_path: Path) -> None:
    cell = final_cells(read_study(str(write())), Place(tmp_path), {})[0]
    forecast = Forecast({})
    assert forecast.left([], [(cell, 0.0, 3.0)], 1) is None
    assert forecast.left([], [(cell, 0.25, 3.0)], 1) == pytest.approx(9)
