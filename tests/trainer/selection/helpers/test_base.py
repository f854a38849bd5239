"""The resolution at which candidates are scored; when a selection is on stands in the contract suite."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.selection.helpers.base import Scheduled, Scored


@pytest.mark.parametrize(
    ("pixels", "training", "scored"),
    [
        (1.0, 32, 32),
        (1, 32, 32),
        (96 / 224, 224, 96),
        (96 / 224, 112, 48),
        (0.29, 224, 65),
        (96, 224, 96),
        (96.0, 224, 96),
        (96, 64, 64),
        (0.001, 32, 1),
    ],
)
def test_resolution_is_a_fraction_up_to_1_and_pixels_above(pixels: Any, training: int, scored: int) -> None:
    assert Scored(pixels=pixels).scoring_pixels(training) == scored


def test_the_last_step_is_selected_only_where_there_is_no_cool_down() -> None:
    assert Scheduled(end=1.0).on(9, 1.0)
    assert not Scheduled(end=0.9).on(9, 1.0)
    assert not Scheduled(end=0.9).on(9, 0.9)
    assert Scheduled(start=0.25).on(0, 0.25)
