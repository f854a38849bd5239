"""Views of a converted data set by ids, the base of those with some of its samples or several of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import Card, Converted
from pipeline.formats.samples import class_labels


class Indexed:
    """A data set whose sample i is sample ``stored[i]`` of another. Nothing is stored twice.

    Parameters
    ----------
    dataset
        The data set.
    stored
        int64[n], for each id of the view the id in ``dataset``.

    Attributes
    ----------
    card
        The data set's own.
    """

    def __init__(self, dataset: Converted, stored: NDArray[np.int64]) -> None:
        self.dataset = dataset
        self.stored: NDArray[np.int64] = np.asarray(stored, dtype=np.int64)
        self.path: Path = dataset.path
        self.card: Card = dataset.card
        self.targets: Mapping[str, NDArray[Any]] = {
            name: values[self.stored] for name, values in dataset.targets.items()
        }
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

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64[n], the class of each sample; raises DataError where the targets are no classes."""
        return class_labels(self.path, self.targets)

    def check_unchanged(self) -> None:
        """Raise ChangedDataError where a file was altered since it was mapped."""
        self.dataset.check_unchanged()

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
