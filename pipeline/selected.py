"""A data set of some of another's samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import Card, Converted
from pipeline.formats.samples import class_labels


class Selected:
    """A view of some samples of a converted data set, numbered from 0. Nothing is stored twice.

    Parameters
    ----------
    dataset
        The data set.
    ids
        int64[n], ids of its samples, in the view's sequence.

    Attributes
    ----------
    stored
        int64[n], for each id of the view the id in ``dataset``.
    card
        The data set's, with the counts of the view; digest, mean and standard deviation are the file's.
    """

    def __init__(self, dataset: Converted, ids: NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.stored: NDArray[np.int64] = np.asarray(ids, dtype=np.int64)
        self.path: Path = dataset.path
        self.targets: Mapping[str, NDArray[Any]] = {
            name: values[self.stored] for name, values in dataset.targets.items()
        }
        self.card: Card = replace(dataset.card, samples=len(self.stored), class_counts=self._counts())
        self.heights, self.widths = dataset.heights[self.stored], dataset.widths[self.stored]
        self.compressed = dataset.compressed[self.stored]
        self.shards, self.shard = dataset.shards, dataset.shard[self.stored]
        self.offsets, self.sizes = dataset.offsets[self.stored], dataset.sizes[self.stored]
        self.checksums = None if dataset.checksums is None else dataset.checksums[self.stored]
        self.levels = dataset.levels
        self.mode = dataset.mode
        self.framed = dataset.framed

    def __len__(self) -> int:
        return len(self.stored)

    def __repr__(self) -> str:
        return f"{len(self):,} samples of {self.dataset!r}"

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the class of each sample; raises DataError where the targets are no classes."""
        return class_labels(self.path, self.targets)

    def _counts(self) -> tuple[int, ...]:
        """Samples of each class, or with each label; none for other targets."""
        card, label = self.dataset.card, self.targets.get("label")
        if label is None or not card.class_counts:
            return card.class_counts
        if card.target == "class":
            return tuple(np.bincount(label, minlength=len(card.class_counts)).tolist())
        return tuple(label.sum(axis=0, dtype=np.int64).tolist())

    def check_unchanged(self) -> None:
        """Raise ChangedDataError where a file was altered since it was mapped."""
        self.dataset.check_unchanged()

    def at(self, level: int) -> Selected:
        """Return the same samples at one of the stored sizes (``levels``)."""
        return Selected(self.dataset.at(level), self.stored)

    def image(self, index: int) -> NDArray[Any]:
        """Decode one sample: [h, w, C] of the set's mode."""
        return self.dataset.image(int(self.stored[index]))

    def encoded(self, index: int) -> bytes:
        """Return the bytes of one sample as they are stored."""
        return self.dataset.encoded(int(self.stored[index]))

    def fault(self, index: int) -> str | None:
        """Read one sample and return its fault; None for a sound one."""
        return self.dataset.fault(int(self.stored[index]))

    def name(self, index: int) -> str:
        """Return the name of a sample in its source."""
        return self.dataset.name(int(self.stored[index]))
