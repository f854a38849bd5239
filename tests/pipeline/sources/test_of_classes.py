"""Images of some classes of a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline import DataError, open_dataset
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import open_source
from pipeline.sources.of_classes import OfClasses, read_class_names
from pipeline.sources.stored import StoredSource
from tools.convert import Convert

NAMES = ("cat", "cow", "dog", "owl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four classes of two to five images each, the color of which is the class's number."""
    for number, name in enumerate(NAMES):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for index in range(2 + number):
            color = (number, index, 0)
            Image.new("RGB", (8, 8), color).save(tmp_path / "animals" / name / f"{index}.png")
    return tmp_path / "animals"


@pytest.mark.parametrize(
    ("names", "without", "kept"),
    [(("owl", "cat"), False, ("cat", "owl")), (("dog",), True, ("cat", "cow", "owl"))],
)
def test_classes_are_numbered_anew_in_their_order(
    folder: Path, names: tuple[str, ...], without: bool, kept: tuple[str, ...]
) -> None:
    source = open_source(str(folder))
    some = OfClasses(source, names, without=without)
    assert some.classes == kept
    shown = [(int(some.read(index)[0, 0, 0]), int(some.labels[index])) for index in range(len(some))]
    assert shown == [
        (number, kept.index(name))
        for number, name in enumerate(NAMES)
        if name in kept
        for _ in range(2 + number)
    ]
    assert f"of the {len(kept)} classes kept" in some.notes[-1]


def test_images_of_several_labels_stay_where_they_have_one(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], np.uint8)
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8, 3), np.uint8), labels=labels)
    source = open_source(str(tmp_path / "x.npz"), targets="multi_label")
    some = OfClasses(source, source.classes[:2])
    assert some.labels.tolist() == [[1, 0], [0, 1]]
    assert len(some) == 2


def test_both_sets_of_cifar9_by_the_command(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "most.txt").write_text("cat\r\n\ncow \nowl\n")
    quiet = Console(quiet=True)
    Convert(str(folder), tmp_path / "a.beton", without_classes=("dog",)).execute(quiet)
    Convert(str(folder), tmp_path / "b.beton", classes=(str(tmp_path / "most.txt"),)).execute(quiet)
    one, other = (open_dataset(tmp_path / name).card for name in ("a.beton", "b.beton"))
    assert one.classes == other.classes == ("cat", "cow", "owl")
    assert one.digest == other.digest
    with pytest.raises(DataError, match="--classes and --without-classes must not be given together"):
        Convert(
            str(folder), tmp_path / "c.beton", classes=("cat",), without_classes=("dog",), overwrite=True
        ).execute(quiet)


@pytest.mark.parametrize(
    ("names", "without", "line"),
    [
        (("dog", "emu"), False, "--classes must name classes of .*, cat, cow, dog, owl; got 'emu'"),
        (("dog", "dog"), True, "--without-classes must name each class once; got 'dog' twice"),
        (NAMES, True, "--without-classes must leave a class"),
    ],
)
def test_mistakes_in_one_line(folder: Path, names: tuple[str, ...], without: bool, line: str) -> None:
    with pytest.raises(DataError, match=line):
        OfClasses(open_source(str(folder)), names, without=without)


def test_targets_without_classes_are_refused(tiny: Callable[..., Path], folder: Path) -> None:
    with pytest.raises(DataError, match="of kind none: leave --classes out"):
        OfClasses(open_source(str(folder), targets="none"), ("cat",))
    data = open_dataset(tiny())
    assert OfClasses(StoredSource(data), ["right"]).classes == ("right",)


def test_lists_of_classes_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"none\.txt must have a class per line; it is empty"):
        read_class_names([str(tmp_path / "none.txt")])
    with pytest.raises(DataError, match=r"must be a text file with a class per line"):
        read_class_names([str(tmp_path / "nowhere.txt")])
    assert read_class_names(["a.txt", "b"]) == ["a.txt", "b"]


def test_a_conversion_resumes_from_the_same_classes_alone(folder: Path, tmp_path: Path) -> None:
    """Sets of other classes have other digests, though of equally many images."""
    source = open_source(str(folder))
    found = {
        convert(OfClasses(source, [name, "owl"]), tmp_path / f"{name}.beton", ConvertOptions()).digest
        for name in ("cat", "dog")
    }
    assert len(found) == 2
