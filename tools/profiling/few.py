"""A few samples of a data set as a small data set, which stays in the caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engines import Dataset


class Few:
    """Some samples of ``dataset``, numbered from 0; itself a `Dataset`.

    Parameters
    ----------
    ids
        int64[n], ids of samples of ``dataset``.
    """

    def __init__(self, dataset: Dataset, ids: NDArray[np.int64]) -> None:
        self.path = dataset.path
        self.targets: Mapping[str, NDArray[Any]] = {
            name: values[ids] for name, values in dataset.targets.items()
        }
        self.heights, self.widths = dataset.heights[ids], dataset.widths[ids]
        self.compressed = dataset.compressed[ids]
        self.shard, self.offsets, self.sizes = dataset.shard[ids], dataset.offsets[ids], dataset.sizes[ids]
        self.checksums = None if dataset.checksums is None else dataset.checksums[ids]
        self.levels = dataset.levels
        self.mode = dataset.mode
        self._dataset = dataset
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def shards(self) -> Sequence[NDArray[np.uint8]]:
        """The files that hold the samples, mapped."""
        return self._dataset.shards

    def at(self, level: int) -> Few:
        """Return the same samples at one of the stored sizes (``levels``)."""
        return Few(self._dataset.at(level), self._ids)

    def check_unchanged(self) -> None:
        """Raise ChangedDataError if a file was changed after it was mapped."""
        self._dataset.check_unchanged()

    def image(self, index: int) -> NDArray[Any]:
        """Decode one sample: [h, w, C] of the mode."""
        return self._dataset.image(int(self._ids[index]))

    def name(self, index: int) -> str:
        """Name of a sample in its source."""
        return self._dataset.name(int(self._ids[index]))
