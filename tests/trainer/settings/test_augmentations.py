"""Chains as runs take them: from Run, from TOML and from the command line, the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import AUGMENTS
from pipeline.augment.cutout import Cutout
from pipeline.augment.random_resized_crop import RandomResizedCrop
from pipeline.augment.standard import Standard
from tools.recipe_line import read_run
from trainer import recipe
from trainer.config import Run
from trainer.errors import RunError
from trainer.settings.augmentations import name

COMPLETED = [
    ("standard", "standard"),
    ("randaugment", "randaugment standard"),
    ("autoaugment", "autoaugment standard"),
    ("trivialaugment_wide", "trivialaugment_wide standard"),
    ("color_jitter grayscale", "color_jitter grayscale standard"),
    ("cutout", "standard cutout"),
    ("randaugment cutout", "randaugment standard cutout"),
    ("ricap", "standard ricap"),
    ("mixup", "standard mixup"),
    ("cutmix", "standard cutmix"),
    ("randaugment cutout mixup", "randaugment standard cutout mixup"),
    ("standard randaugment", "standard randaugment"),
    ("none", "none"),
    ("none ricap", "none ricap"),
    ("none randaugment", "none randaugment"),
    ("random_resized_crop randaugment", "random_resized_crop randaugment"),
    ("center_crop cutout", "center_crop cutout"),
    ("center_crop standard", "center_crop standard"),
    ("ssl", "ssl"),
    ("multi", "multi"),
    ("random_resized_crop multi", "random_resized_crop multi"),
]

SENSELESS = [
    (
        "standard standard",
        "must name a part once, unless its options differ; got standard standard: leave one",
    ),
    ("randaugment randaugment", "leave one randaugment out"),
    ("none none", "leave one none out"),
    ("ricap ricap", "leave one ricap out"),
    ("standard ricap standard", "leave one standard out"),
    ("ricap mixup", "must mix images once, .*; got ricap mixup: take one of ricap and mixup"),
    ("mixup ricap", "take one of mixup and ricap"),
    ("standard cutmix mixup", "take one of cutmix and mixup"),
    ("standard random_resized_crop", "must crop at random once; .*: take one of standard and random_resized"),
    ("ssl standard", "take one of ssl and standard"),
    ("random_resized_crop center_crop", "center_crop must stand before random_resized_crop, which moves the"),
    (
        "standard none",
        "none is for chains without crops and flips; got standard none: leave none or standard",
    ),
    ("none multi", "leave none or multi out"),
]


def words(run: Run) -> str:
    return " ".join(name(part) for part in run.augment)


@pytest.mark.parametrize(("given", "expected"), COMPLETED)
def test_a_chain_without_a_crop_gets_the_standard_one(given: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"augment = {given.split()}")
    runs = [
        Run(augment=tuple(AUGMENTS[word]() for word in given.split())),
        recipe.load(str(tmp_path / "mine.toml")),
        read_run(["cifar10", "--augment", *given.split()], "trainer run", "")[0],
        read_run([str(tmp_path / "mine.toml")], "trainer run", "")[0],
    ]
    assert [words(run) for run in runs] == [expected] * 4
    assert len({run.augment for run in runs}) == 1
    # What is written is read again as it is.
    for run in runs:
        assert recipe.from_table(recipe.to_table(run), "again") == run


@pytest.mark.parametrize(("given", "line"), SENSELESS)
def test_a_chain_that_makes_no_sense_is_refused_everywhere(given: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"augment = {given.split()}")
    for make in (
        lambda: Run(augment=tuple(AUGMENTS[word]() for word in given.split())),
        lambda: recipe.load(str(tmp_path / "mine.toml")),
        lambda: read_run(["cifar10", "--augment", *given.split()], "trainer run", ""),
    ):
        with pytest.raises(RunError, match=line) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_digits_are_not_flipped() -> None:
    for augmentation in ("ricap", "randaugment", "cutout"):
        parts = (AUGMENTS[augmentation](),)
        from_line = read_run(["svhn", "--augment", augmentation], "trainer run", "")[0]
        from_table = recipe.from_table({"data": "svhn", "augment": [augmentation]}, "here")
        converted = Run(data="data/svhn/train.beton", augment=parts)
        for run in (from_line, from_table, converted, Run(data="svhn", augment=parts)):
            assert Standard(flip=False) in run.augment
        assert Standard() in Run(data="cifar10", augment=parts).augment


def test_a_recipes_own_crop_joins_what_the_command_line_names(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text('augment = [{ name = "random_resized_crop", size = 160 }, "ricap"]')
    run = read_run([str(tmp_path / "large.toml"), "--augment", "randaugment", "mixup"], "trainer run", "")[0]
    assert words(run) == "random_resized_crop randaugment mixup"
    assert run.augment[0] == RandomResizedCrop(size=160)


def test_a_part_may_stand_twice_with_different_options(tmp_path: Path) -> None:
    """A large hole and a small one; the command line, which can't tell them apart, leaves both as they
    are."""
    (tmp_path / "holes.toml").write_text(
        'augment = ["standard", { name = "cutout", size = 16 }, { name = "cutout", size = 8 }]'
    )
    expected = (Standard(), Cutout(16), Cutout(8))
    path = str(tmp_path / "holes.toml")
    assert recipe.load(path).augment == expected
    assert read_run([path, "--seed", "1"], "trainer run", "")[0].augment == expected


def test_a_run_names_an_augmentation() -> None:
    with pytest.raises(RunError, match=r'augment must name a part; got \[\]: "none" is for no augmentation'):
        Run(augment=())
