"""Data sets that a study makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import DataError, open_dataset
from tools.studying.subset import Subset
from trainer.config import Run
from trainer.data import open_data, paths
from trainer.parallel import World


def test_a_subset_has_a_validation_set_and_the_whole_test_set(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    tiny()
    run = Run(data="small", data_dir=tmp_path)
    subset = Subset("small", "tiny", 64, 0.25, 0)
    said: list[str] = []
    subset.make(run, lambda name, done, total: said.append(name))
    assert {"small, test", "small, train"} == set(said)
    train, test = map(open_dataset, paths(run))
    held = open_dataset(paths(replace(run, test_data="validation"))[1])
    # Of two classes each keeps its fraction, rounded.
    assert (abs(len(train) - 48) <= 2, abs(len(held) - 16) <= 2, len(test)) == (True, True, 48)
    assert test.card.digest == open_dataset(tmp_path / "tiny" / "test.beton").card.digest
    subset.make(run, lambda name, done, total: pytest.fail("it is there already"))
    with pytest.raises(DataError, match="must hold what the study takes of tiny, 128 samples"):
        replace(subset, samples=128).make(run, lambda name, done, total: None)
    with pytest.raises(DataError, match="at most the 128 of noise; got 1,000"):
        Subset("other", "tiny", 1000, 0.0, 0).make(run, lambda name, done, total: None)


def test_a_validation_set_that_isn_t_there_is_asked_for(tiny: Callable[..., Path], tmp_path: Path) -> None:

    tiny()
    run = Run(data="tiny", data_dir=tmp_path, test_data="validation", batch_size=16)
    with pytest.raises(DataError, match=r"a validation set must stand at .*train-validation\.beton"):
        open_data(run, World(), lambda name, done, total: None)


def test_a_subset_of_some_classes_has_their_test_set(tiny: Callable[..., Path], tmp_path: Path) -> None:
    tiny()
    run = Run(data="right", data_dir=tmp_path)
    subset = Subset("right", "tiny", None, 0.0, 0, without_classes=("left",))
    for _ in range(2):
        subset.make(run, lambda name, done, total: None)
    cards = [open_dataset(path).card for path in paths(run)]
    assert [card.classes for card in cards] == [("right",)] * 2
    with pytest.raises(
        DataError, match=r"all samples of which 0 are held out; .* and other classes: left, right"
    ):
        replace(subset, classes=("left",), without_classes=()).make(run, lambda name, done, total: None)
