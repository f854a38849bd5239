"""Test sets that fit their training set in part: classes fewer, more, in another order, other shapes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import DataError
from pipeline.formats import Converted, open_dataset
from pipeline.sources import ArraySource
from pipeline.sources.renumbered import Renumbered
from tools.cli import main
from trainer.classes import compare_shapes, match_classes
from trainer.errors import RunError

OURS = ("ant", "bee", "cat", "dog")


def source(names: Sequence[str], classes: Sequence[str], side: int = 8) -> ArraySource:
    images = np.zeros((len(names), side, side, 3), np.uint8)
    labels = np.array([classes.index(name) for name in names], np.int64)
    return ArraySource("x", "test", "x", tuple(classes), labels, images)


def made(path: Path, names: Sequence[str], classes: Sequence[str], side: int = 8) -> Converted:
    convert(source(names, classes, side), path, ConvertOptions(encoding="raw"))
    return open_dataset(path)


@pytest.fixture
def train(tmp_path: Path) -> Converted:
    return made(tmp_path / "train.beton", OURS * 2, OURS)


@pytest.mark.parametrize("ending", ["beton", "wds"])
@pytest.mark.parametrize(
    ("names", "classes", "lacking"),
    [
        (OURS, OURS, None),
        (("bee", "dog", "bee"), ("bee", "dog"), "2 of the 4 classes: 'ant', 'cat'"),
        (("ant", "bee"), ("ant", "bee"), "2 of the 4 classes: 'cat', 'dog'"),
        # Classes without images are no classes of a test set's, whatever their order.
        (("bee", "dog"), ("zebra", "bee", "cat", "ant", "dog"), "2 of the 4 classes: 'ant', 'cat'"),
    ],
)
def test_a_test_set_with_fewer_classes_is_numbered_as_the_training_set(
    tmp_path: Path,
    train: Converted,
    ending: str,
    names: Sequence[str],
    classes: Sequence[str],
    lacking: str | None,
) -> None:
    test = made(tmp_path / f"test.{ending}", names, classes)
    notes = match_classes(train, test)
    assert [OURS[label] for label in test.labels] == list(names)
    assert test.card.classes == OURS
    assert test.card.class_counts == tuple(list(names).count(name) for name in OURS)
    assert notes == ([] if lacking is None else [f"{tmp_path}/test.{ending} has no images of {lacking}"])


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (("ant", "eel"), ("ant", "eel"), r"has 1 that .*train\.beton lacks: 'eel': leave their images out"),
        (tuple("abcdefgh"), tuple("abcdefgh"), r"has 8 that .* lacks: 'a', 'b', 'c', 'd', 'e' and 3 more"),
        (("0", "1"), ("0", "1"), "has 2 that .* lacks: '0', '1'"),
        (
            ("ant", "cat", "bee"),
            ("ant", "cat", "bee"),
            r"same order; class 'bee' of .*train\.beton stands where .*test\.beton has 'cat', as 'ant', "
            r"'bee', 'cat' against 'ant', 'cat', 'bee': `trainer convert SOURCE .*test\.beton --classes-of ",
        ),
        (tuple(reversed(OURS)), tuple(reversed(OURS)), "class 'ant' of .* stands where .* has 'dog'"),
    ],
)
def test_classes_that_do_not_fit_are_named_with_what_mends_them(
    tmp_path: Path, train: Converted, names: Sequence[str], classes: Sequence[str], message: str
) -> None:
    test = made(tmp_path / "test.beton", names, classes)
    before = test.labels.copy()
    with pytest.raises(RunError, match=message) as caught:
        match_classes(train, test)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(test.labels, before)


def test_classes_of_one_name_can_not_be_matched(tmp_path: Path) -> None:
    train = made(tmp_path / "train.beton", ["crane"], ("crane", "crane", "owl"))
    test = made(tmp_path / "test.beton", ["owl"], ("owl",))
    with pytest.raises(RunError, match="must have names of their own"):
        match_classes(train, test)
    assert match_classes(train, train) == []


def test_the_command_that_is_named_mends_the_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, classes in (("train", OURS), ("test", ("dog", "ant"))):
        chosen = source(classes, classes)
        np.savez(tmp_path / f"{split}.npz", images=chosen.images, labels=chosen.labels, classes=classes)
        assert main(["convert", f"{tmp_path}/{split}.npz", f"{tmp_path}/{split}.beton"]) == 0
    train = open_dataset(tmp_path / "train.beton")
    with pytest.raises(RunError) as caught:
        match_classes(train, open_dataset(tmp_path / "test.beton"))
    words = str(caught.value).partition("`trainer ")[2].partition("`")[0].split()
    words[words.index("SOURCE")] = f"{tmp_path}/test.npz"
    assert main(words) == 0
    test = open_dataset(tmp_path / "test.beton")
    assert match_classes(train, test) == []
    assert [test.card.classes[label] for label in test.labels] == ["dog", "ant"]
    assert "classes are numbered as in" in capsys.readouterr().out


def test_a_source_with_other_classes_is_not_renumbered() -> None:
    with pytest.raises(DataError, match="must be among those of y; 1 aren't: 'eel'"):
        Renumbered(source(["eel", "ant"], ["ant", "eel"]), OURS, "y")
    assert Renumbered(source(["ant"], ["ant", "eel"]), OURS, "y").labels.tolist() == [0]


def test_shapes_that_differ_are_a_note(tmp_path: Path, train: Converted) -> None:
    test = made(tmp_path / "test.beton", OURS, OURS, side=16)
    (note,) = compare_shapes(train, test)
    assert f"{tmp_path}/train.beton are 8x8 pixels and those of {tmp_path}/test.beton 16x16" in note
    assert f"`trainer convert SOURCE {tmp_path}/test.beton --square 8 --overwrite`" in note
    assert compare_shapes(train, train) == []
