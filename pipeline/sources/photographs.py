"""Data sets of photographs that torchvision has by name, read from its layouts on disk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from pipeline.sources.image_files import ImageFiles
from pipeline.sources.image_folder import ImageFolder
from pipeline.sources.named import NamedSource
from pipeline.text import read_text

_PARTS = {"train": "train", "test": "val", "val": "val"}
"""Folder of each split: papers test on the published validation set, as the test set's labels are secret."""


@dataclass(frozen=True)
class Imagenette(NamedSource):
    """Imagenette: 9,469 + 3,925 photographs in ten easy classes of ImageNet; test is its validation set."""

    name = "imagenette"
    splits = ("train", "test", "val")
    published = "https://github.com/fastai/imagenette"
    _folders: ClassVar[tuple[str, ...]] = ("imagenette2", "imagenette2-320", "imagenette2-160")
    _names: ClassVar[dict[str, str]] = {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    }

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the folders of full size, 320 and 160 pixels, in both layouts."""
        for folder in self._folders:
            for root in (data_dir, data_dir / self.name):
                yield root / folder / _PARTS[split]

    def read(self, split: str, path: Path) -> ImageFiles:
        """List the images."""
        return _folder(self.name, split, path, self._names)


@dataclass(frozen=True)
class ImageNet(NamedSource):
    """ImageNet (ILSVRC 2012): 1,281,167 + 50,000 photographs, 1,000 classes; test is its validation set."""

    name = "imagenet"
    splits = ("train", "test", "val")
    published = "https://image-net.org"

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the folder of the split, which has one folder per class, named by its WordNet id."""
        return [data_dir / self.name / _PARTS[split]]

    def read(self, split: str, path: Path) -> ImageFiles:
        """List the images, and name the classes where torchvision's ``meta.bin`` does."""
        names = {}
        meta = path.parent / "meta.bin"
        if meta.exists():
            synonyms: dict[str, tuple[str, ...]] = torch.load(meta, weights_only=True)[0]
            first = {number: words[0] for number, words in synonyms.items()}
            # Cranes are birds and machines.
            times = Counter(first.values())
            names = {
                number: f"{word} ({number})" if times[word] > 1 else word for number, word in first.items()
            }
        return _folder(self.name, split, path, names)


@dataclass(frozen=True)
class Food101(NamedSource):
    """Food-101: 75,750 + 25,250 photographs of 101 dishes."""

    name = "food101"
    published = "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz"

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the list of the split's images, in both layouts."""
        return [root / "food-101" / "meta" / f"{split}.json" for root in (data_dir, data_dir / self.name)]

    def read(self, split: str, path: Path) -> ImageFiles:
        """Read the list: image names by class."""
        listed: dict[str, list[str]] = json.loads(read_text(path))
        root = path.parent.parent / "images"
        classes = tuple(sorted(listed))
        images = [(name, label) for label, dish in enumerate(classes) for name in sorted(listed[dish])]
        return ImageFiles(
            name=self.name,
            split=split,
            origin=f"food-101 ({split})",
            classes=classes,
            root=root,
            files=[root / f"{name}.jpg" for name, _ in images],
            labels=[label for _, label in images],
        )


@dataclass(frozen=True)
class Places365(NamedSource):
    """Places365: 1,803,460 + 36,500 photographs of 365 kinds of scene; test is its validation set.

    Split challenge holds 8 million images to train on.
    """

    name = "places365"
    splits = ("train", "test", "val", "challenge")
    published = "http://places2.csail.mit.edu/download.html"
    _lists: ClassVar[dict[str, str]] = {
        "train": "places365_train_standard.txt",
        "test": "places365_val.txt",
        "val": "places365_val.txt",
        "challenge": "places365_train_challenge.txt",
    }
    _folders: ClassVar[dict[str, tuple[str, str]]] = {
        "train": ("data_large_standard", "data_256_standard"),
        "test": ("val_large", "val_256"),
        "val": ("val_large", "val_256"),
        "challenge": ("data_large_challenge", "data_256_challenge"),
    }

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the folder of the split's images, large ones first, in both layouts."""
        return [root / folder for folder in self._folders[split] for root in (data_dir, data_dir / self.name)]

    def read(self, split: str, path: Path) -> ImageFiles:
        """Read the list of images beside the folder, and that of the classes."""
        rows = [line.split() for line in read_text(path.parent / self._lists[split]).splitlines()]
        named = [line.split() for line in read_text(path.parent / "categories_places365.txt").splitlines()]
        numbers = {int(number): name for name, number in named}
        return ImageFiles(
            name=self.name,
            split=split,
            origin=f"places365 {path.name}",
            # "/a/abbey" lies in a folder of its first letter.
            classes=tuple(numbers[number].split("/", 2)[2] for number in range(len(numbers))),
            root=path,
            files=[path / name.lstrip("/") for name, _ in rows],
            labels=[int(label) for _, label in rows],
        )


def _folder(name: str, split: str, path: Path, names: Mapping[str, str]) -> ImageFiles:
    """Return the source of an image folder whose class folders aren't named after their classes."""
    source = ImageFolder(path.parent, path.name, name)
    source.split = split
    source.classes = tuple(names.get(number, number) for number in source.classes)
    source.origin = f"{path.parent.name}/{path.name}"
    return source
