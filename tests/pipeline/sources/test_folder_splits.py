"""Splits of image folders, under the names that other tools give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import DataError
from pipeline.sources import ImageFolder, open_source


def lay_out(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
    return root


def pair(root: Path, train: str, test: str) -> Path:
    return lay_out(
        root / "pets", *(f"{split}/{name}/1.png" for split in (train, test) for name in ("cat", "dog"))
    )


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TrainData", "testSet"), ("1_trn", "2_tst"), ("seg_train", "seg_test"),
     ("TRAIN", "TEST"), ("train_images", "test_images"),
     ("1_train", "2_test"), ("Train", "test-set"), ("seg_train/seg_train", "seg_test/seg_test")],
)  # fmt: skip
def test_splits_with_other_names_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    pets = pair(tmp_path, train, test)
    with pytest.raises(DataError) as caught:
        open_source(str(pets))
    assert f"{pets} holds splits, not classes: give --split train for {pets / train} or --split test" in str(
        caught.value
    )
    for split, folder in (("train", train), ("test", test)):
        asked, named = open_source(str(pets), split=split), open_source(str(pets / folder))
        for source in (asked, named):
            assert (source.classes, source.split, len(source)) == (("cat", "dog"), split, 2)
        np.testing.assert_array_equal(asked.read(0), named.read(0))


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "eval"])
def test_folders_have_the_names_of_splits_that_shards_have(tmp_path: Path, val: str) -> None:
    pets = lay_out(pair(tmp_path, "training", "testing"), f"{val}/cat/1.png", "notes/x/1.png")
    for split, asked in (("train", None), ("test", "test"), ("val", "val"), ("val", val)):
        source = open_source(str(pets), split=asked)
        assert (source.classes, source.split) == (("cat", "dog"), split)
        assert source.notes[0] == "folders beside the splits are left out (notes)"
    with pytest.raises(DataError, match=r"holds: train \(training\), test \(testing\), val.*; got extra"):
        open_source(str(pets), split="extra")


def test_two_folders_for_one_split_are_ambiguous(tmp_path: Path) -> None:
    pets = lay_out(pair(tmp_path, "train", "val"), "valid/cat/1.png")
    with pytest.raises(DataError, match="holds val and valid, both named after val: give the path of one"):
        open_source(str(pets))


def test_imagenets_validation_images_as_published_are_told_to_be_sorted(tmp_path: Path) -> None:
    flat = [f"val/ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 8)]
    root = lay_out(tmp_path / "imagenet", "train/n01/a.JPEG", "train/n02/a.JPEG", *flat)
    assert len(open_source(str(root))) == 2
    message = (
        r"imagenet/val holds 7 images and no folders \(ILSVRC2012_val_00000001.JPEG, .* and 2 more\): sort "
        r"them into val/CLASS/IMAGE \(the published archive is flat"
    )
    with pytest.raises(DataError, match=message):
        open_source(str(root), split="val")
    with pytest.raises(DataError, match=message):
        open_source("imagenet", split="test", data_dir=tmp_path)


def test_splits_without_class_folders_do_not_become_classes(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "dogs-vs-cats", "train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg")
    with pytest.raises(
        DataError, match=r"test and train of .*, and would become the classes: arrange them as"
    ):
        open_source(str(root))


def test_splits_a_level_further_down_are_not_mixed(tmp_path: Path) -> None:
    lone = pair(tmp_path / "a", "data/train", "data/test")
    with pytest.raises(DataError, match=rf"{lone}/data holds .* which would be mixed: give {lone}/data"):
        open_source(str(lone))
    mvtec = lay_out(
        tmp_path / "b", "bottle/train/good/1.png", "bottle/test/bad/1.png", "nut/train/good/1.png"
    )
    with pytest.raises(
        DataError, match=r"bottle holds test and train, which would be mixed: arrange it as SPLIT"
    ):
        open_source(str(mvtec))


def test_folders_beside_splits_with_other_names_are_no_classes(tmp_path: Path) -> None:
    scenes = lay_out(
        pair(tmp_path, "seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.png", "extra/1.png"
    )
    with pytest.raises(DataError, match=r"holds splits, not classes: give --split train for .*/seg_train or"):
        open_source(str(scenes))
    source = open_source(str(scenes), split="test")
    assert (source.classes, len(source)) == (("cat", "dog"), 2)
    assert source.notes == ("folders beside the splits are left out (extra, seg_pred)",)


def test_classes_that_lie_further_down_are_noted(tmp_path: Path) -> None:
    published = lay_out(tmp_path / "a", "set/PetImages/Cat/1.png", "set/PetImages/Dog/1.png")
    assert open_source(str(published)).notes == (
        "all images are of one class, set",
        f"{published}/set/PetImages holds folders (Cat, Dog) and no images: where those are the classes, "
        "give it",
    )
    listed = lay_out(tmp_path / "b", "train/images/1.png", "test/images/1.png")
    assert open_source(str(listed)).notes == ("all images are of one class, images",)
    folds = pair(tmp_path / "c", "fold1", "fold2")
    (note,) = open_source(str(folds)).notes
    assert note.startswith(
        "all class folders hold folders of the same names (cat, dog), whose images are mix"
    )
    lay_out(folds, "fold1/1.png")
    assert open_source(str(folds)).notes == ()
    deep = pair(tmp_path / "d", "a/b/train", "a/b/test")
    with pytest.raises(DataError, match=rf"{deep}/a/b holds .* which would be mixed: give {deep}/a/b"):
        open_source(str(deep))
    looped = lay_out(tmp_path / "e", "x/y/1.png")
    (looped / "x" / "y" / "1.png").unlink()
    (looped / "x" / "y" / "z").symlink_to("..")
    with pytest.raises(DataError, match="no images in them"):
        open_source(str(looped))


def test_classes_may_have_the_names_of_splits(tmp_path: Path) -> None:
    vehicles = lay_out(tmp_path / "a", "bus/1.png", "train/1.png", "car/1.png")
    assert open_source(str(vehicles)).classes == ("bus", "car", "train")
    capital = lay_out(tmp_path / "b", "Bus/x/1.png", "Train/x/1.png", "Car/x/1.png")
    assert open_source(str(capital)).classes == ("Bus", "Car", "Train")
    words = lay_out(tmp_path / "c", "drug test/1.png", "steam train/1.png", "other/1.png")
    assert open_source(str(words)).classes == ("drug test", "other", "steam train")


def test_a_class_of_one_split_alone_is_named_where_it_is_empty(tmp_path: Path) -> None:
    source = ImageFolder(lay_out(tmp_path, "train/cat/1.png", *(f"test/{name}/1.png" for name in "abcdefg")))
    assert source.notes == ("7 of the 8 classes have no images: 'a', 'b', 'c', 'd', 'e' and 2 more",)
