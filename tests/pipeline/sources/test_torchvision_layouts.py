"""Named data sets laid out as torchvision expects them, compared with what torchvision reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import save
from torchvision import datasets

from pipeline.sources import Source, open_source


def same(source: Source, theirs: Any, names: Callable[[Any], str] = str) -> None:
    """Compare a source with a data set of torchvision's, in its own order."""
    assert len(source) == len(theirs) > 0
    ours = {source.read(index).tobytes(): int(source.labels[index]) for index in range(len(source))}
    for index in range(len(theirs)):
        image, label = theirs[index]
        assert ours.pop(np.asarray(image).tobytes()) == label
    assert list(source.classes) == [names(name) for name in theirs.classes]


def test_imagenette_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    wnids = list(datasets.Imagenette._WNID_TO_CLASS)
    for number in range(20):
        for split in ("train", "val"):
            save(tmp_path / "imagenette2" / split / wnids[number % 10] / f"{split}_{number}.JPEG", number)
    for split, part in (("train", "train"), ("test", "val"), ("val", "val")):
        source = open_source("imagenette", split=split, data_dir=tmp_path)
        assert source.split == split
        same(source, datasets.Imagenette(str(tmp_path), part), lambda names: names[0])
    assert source.origin == "imagenette2/val"


def test_imagenet_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "imagenet"
    for number in range(12):
        for split in ("train", "val"):
            save(root / split / ("n01", "n02", "n03")[number % 3] / f"{split}_{number}.JPEG", number)
    assert open_source("imagenet", data_dir=tmp_path).classes == ("n01", "n02", "n03")
    torch.save(
        ({"n03": ("tench", "Tinca tinca"), "n01": ("crane",), "n02": ("crane",)}, []), root / "meta.bin"
    )
    source = open_source("imagenet", split="test", data_dir=tmp_path)
    assert source.classes == ("crane (n01)", "crane (n02)", "tench")
    theirs = datasets.ImageNet(str(root), "val")
    theirs.classes = source.classes
    same(source, theirs)


def test_food101_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "food101" / "food-101"
    (root / "meta").mkdir(parents=True)
    for seed, split in enumerate(("train", "test")):
        listed = {
            dish: [f"{dish}/{seed}{number}" for number in range(5)] for dish in ("waffles", "apple_pie")
        }
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for number, name in enumerate(name for names in listed.values() for name in names):
            save(root / "images" / f"{name}.jpg", 100 * seed + number)
    for split in ("train", "test"):
        same(
            open_source("food101", split=split, data_dir=tmp_path), datasets.Food101(str(root.parent), split)
        )


@pytest.mark.parametrize("small", [False, True])
def test_places365_is_read_as_torchvision_reads_it(tmp_path: Path, small: bool) -> None:
    class Unchecked(datasets.Places365):  # type: ignore[misc]
        def _check_integrity(self, file: str, md5: str, download: bool) -> bool:
            return True

    root, scenes, size = tmp_path, ("/a/abbey", "/b/bakery/shop"), "256" if small else "large"
    (root / "categories_places365.txt").write_text("".join(f"{one} {i}\n" for i, one in enumerate(scenes)))
    for part, folder in (("train_standard", "data_{}_standard"), ("train_challenge", "data_{}_challenge")):
        rows = [f"{scenes[number % 2]}/{number:08}.jpg {number % 2}" for number in range(8)]
        (root / f"places365_{part}.txt").write_text("\n".join(rows))
        for number, row in enumerate(rows):
            save(root / folder.format(size) / row.split()[0][1:], number + 100 * len(part))
    rows = [f"Places365_val_{number:08}.jpg {number // 3}" for number in range(6)]
    (root / "places365_val.txt").write_text("\n".join(rows))
    for number, row in enumerate(rows):
        save(root / f"val_{size}" / row.split()[0], number)
    for split, part in (("train", "train-standard"), ("challenge", "train-challenge"), ("test", "val")):
        source = open_source("places365", split=split, data_dir=tmp_path)
        same(source, Unchecked(str(root), part, small), lambda name: name[3:])


def test_mini_imagenet_is_put_together_permuted_and_cut(tmp_path: Path) -> None:
    root = tmp_path / "mini_imagenet"
    (root / "images").mkdir(parents=True)
    listed: list[tuple[str, str]] = []
    for part, (name, classes) in enumerate((("train", 4), ("val", 1), ("test", 2))):
        rows = [
            (f"{part}{label}{number}.jpg", f"n{9 - part}{label}")
            for label in range(classes)
            for number in range(6)
        ]
        with (root / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("filename", "label"), *rows])
        listed += rows
    for number, (filename, _) in enumerate(listed):
        save(root / "images" / filename, number)
    np.random.seed(42)  # noqa: NPY002
    order = np.random.permutation(42)  # noqa: NPY002
    names = sorted({label for _, label in listed})
    train, test = (
        open_source("mini_imagenet", split=split, data_dir=tmp_path) for split in ("train", "test")
    )
    assert (len(train), len(test)) == (35, 7)
    assert train.classes == test.classes == tuple(names)
    for place, number in enumerate(order):
        source, index = (train, place) if place < 35 else (test, place - 35)
        assert source.sample_name(index) == listed[number][0]
        assert names[source.labels[index]] == listed[number][1]
    by_class = tmp_path / "other" / "miniimagenet"
    for filename, label in listed:
        path = by_class / "images" / label / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / "images" / filename).read_bytes())
    for name in ("train.csv", "val.csv", "test.csv"):
        (by_class / name).write_bytes((root / name).read_bytes())
    again = open_source("mini_imagenet", data_dir=tmp_path / "other")
    np.testing.assert_array_equal(again.read(3), train.read(3))
