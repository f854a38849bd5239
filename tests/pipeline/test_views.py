from __future__ import annotations

import pytest

from pipeline import Augmentation, DataError, Views
from pipeline.augment.mixup import Mixup
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.standard import Standard
from pipeline.resolution import Stage

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
CROP = Augmentation([RandomResizedCrop()], MEAN, STD)
PLAIN = Augmentation([Standard()], MEAN, STD)
MIXED = Augmentation([Mixup()], MEAN, STD)


def test_an_augmentation_is_one_view() -> None:
    views = Views((MIXED,))
    assert views.transforms == (MIXED,)
    assert len(views) == 1


def test_an_engine_may_cut_only_where_every_view_crops() -> None:
    assert Views((CROP, CROP)).crops
    assert not Views((CROP, PLAIN)).crops


def test_each_view_has_a_stage_of_its_own() -> None:
    stage = Stage(96, magnitude=0.7, resolution=0.5)
    assert Views((CROP, CROP)).stages(stage) == (stage, stage)
    assert Views((CROP, CROP), (1.0, 1.0)).stages(Stage()) == (Stage(), Stage())
    large, small = Views((CROP, CROP), (1.0, 0.25)).stages(stage)
    assert large == stage
    assert small == Stage(24, magnitude=0.7, resolution=0.125)


@pytest.mark.parametrize(
    ("transforms", "sizes", "line"),
    [
        ((), (), "views must hold at least one augmentation; got none"),
        ((CROP, CROP), (1.0,), "sizes must be one per view; got 1 for 2 views"),
        ((CROP,), (0.0,), r"sizes must be above 0 and finite; got \(0.0,\)"),
        ((CROP, MIXED), (), "views must not mix, or each of 2 would be of other samples"),
    ],
)
def test_views_that_cannot_work_are_refused(
    transforms: tuple[Augmentation, ...], sizes: tuple[float, ...], line: str
) -> None:
    with pytest.raises(DataError, match=line):
        Views(transforms, sizes)


def test_sizes_need_the_stages_pixels() -> None:
    with pytest.raises(DataError, match=r"fractions of a stage's pixels; got .* give the stage pixels"):
        Views((CROP, CROP), (1.0, 0.5)).stages(Stage())
