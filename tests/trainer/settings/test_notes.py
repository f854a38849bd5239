"""Notes on settings of a run that look wrong but may be intended."""

from __future__ import annotations

import pytest

from pipeline.augment.multi import Multi
from pipeline.resolution import Progressive, SuperProgressive
from trainer.config import Run
from trainer.evaluators.knn import Knn
from trainer.methods.moco import MoCo
from trainer.schedules import FixedOneCycle, OneCycle
from trainer.settings.notes import notes

SIX = SuperProgressive(lowest=96)
"""From 96 to 224 pixels: six stages, the first of which is a sixth of the run."""


@pytest.mark.parametrize(
    ("warmup", "odd"), [(80.0, False), (79.5, False), (80.9, False), (81.1, True), (78.9, True), (10.0, True)]
)
def test_warm_ups_that_differ_by_more_than_a_round_are_told(warmup: float, odd: bool) -> None:
    """480 epochs in rounds of one: a stage lasts 80 of them."""
    run = Run(epochs=480, budget=1.0, resolution=SIX, schedule=FixedOneCycle(warmup=warmup))
    assert len(notes(run, 224)) == odd


def test_a_round_is_as_long_as_the_budget_makes_it() -> None:
    """At a budget of a quarter 480 epochs are 120, a stage 20, and a round a quarter of one."""
    for warmup, odd in ((20.2, False), (20.3, True)):
        run = Run(epochs=480, budget=0.25, resolution=SIX, schedule=FixedOneCycle(warmup=warmup))
        assert len(notes(run, 224)) == odd


def test_the_line_has_both_shares_and_what_makes_them_one() -> None:
    schedule = FixedOneCycle(warmup=10)
    run = Run(epochs=120, budget=1.0, resolution=SIX, schedule=schedule)
    (line,) = notes(run, 224)
    assert "for 16.7% of the budget" in line
    assert "for 8.3% of it: --schedule.warmup 20 or --resolution.warmup 0.08333 makes them one" in line
    assert "\n" not in line
    as_told = SuperProgressive(lowest=96, warmup=0.08333)
    assert notes(Run(epochs=120, budget=1.0, resolution=as_told, schedule=schedule), 224) == ()


def test_other_schedules_have_no_warm_up_to_agree_with() -> None:
    assert notes(Run(resolution=SIX), 224) == ()
    assert notes(Run(resolution=SIX, schedule=OneCycle(warmup=0.5)), 224) == ()
    assert notes(Run(resolution=Progressive(), schedule=FixedOneCycle(warmup=5.0)), 224) == ()


@pytest.mark.parametrize(("copies", "odd"), [(1, False), (2, True), (4, True), (5, False), (20, False)])
def test_augmentations_that_no_copy_gets_are_told(copies: int, odd: bool) -> None:
    found = notes(Run(multiply=copies, augment=(Multi(),)), 32)
    assert len(found) == odd
    if copies == 2:
        assert "get the first 2 of multi's 5 augmentations, standard, standard: --multiply 5 uses" in found[0]


def test_a_queue_of_more_keys_than_images_is_noted() -> None:
    run = Run(method=MoCo(queue=4096), evaluator=(Knn(),))
    (note,) = notes(run, 32, 1000)
    assert note.startswith("the queue holds 4,096 keys of a set of 1,000 images")
    assert "--method.queue 500 or less" in note
    assert not notes(run, 32, 4096)
