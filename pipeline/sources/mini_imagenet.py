"""Mini-ImageNet from the lists of its few-shot splits, put together and split again for classification."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.sources.image_files import ImageFiles
from pipeline.sources.named import NamedSource
from pipeline.text import read_text


@dataclass(frozen=True)
class MiniImageNet(NamedSource):
    """Mini-ImageNet: 50,000 + 10,000 photographs, 84x84, in 100 classes of ImageNet.

    The published splits hold classes of their own, for few-shot learning. For classification the rows of
    train.csv, val.csv and test.csv are put after one another and permuted with seed 42; the first five sixths
    are the training set (Arazo et al. 2021, section 4.1).
    """

    name = "mini_imagenet"
    published = "the authors of a few-shot benchmark: train.csv, val.csv, test.csv and the folder images"
    _lists: ClassVar[tuple[str, ...]] = ("train.csv", "val.csv", "test.csv")
    _folders: ClassVar[tuple[str, ...]] = ("mini_imagenet", "mini-imagenet", "miniimagenet", "miniImageNet")

    def locations(self, split: str, data_dir: Path) -> Iterable[Path]:
        """Return the first of the lists, in a folder of any of the usual names."""
        return [data_dir / folder / self._lists[0] for folder in self._folders]

    def read(self, split: str, path: Path) -> ImageFiles:
        """Read the lists, with columns filename and label, and find the images beside them."""
        rows = []
        for name in self._lists:
            file = io.StringIO(read_text(path.with_name(name)))
            rows += [(row["filename"], row["label"]) for row in csv.DictReader(file)]
        classes = tuple(sorted({label for _, label in rows}))
        numbers = {label: number for number, label in enumerate(classes)}
        # The reference permuted with NumPy's global generator, which is this one.
        order = np.random.RandomState(42).permutation(len(rows))
        cut = len(rows) * 5 // 6
        chosen = order[:cut] if split == "train" else order[cut:]
        root = path.parent
        by_class = not (root / "images" / rows[0][0]).exists()
        files = []
        for number in chosen:
            filename, label = rows[number]
            files.append(root / "images" / label / filename if by_class else root / "images" / filename)
        return ImageFiles(
            name=self.name,
            split=split,
            origin=f"mini-ImageNet, 5/6 of {len(rows):,} rows permuted with seed 42 ({split})",
            classes=classes,
            root=root / "images",
            files=files,
            labels=[numbers[rows[number][1]] for number in chosen],
        )
