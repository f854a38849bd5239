"""A source of some of the images of another one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.sources.holdout import hold_out
from pipeline.sources.protocol import Source
from pipeline.sources.wrapped import Wrapped


class Sampled(Wrapped):
    """``samples`` images of ``source``, in their order; where they have classes, class by class at random.

    Every class keeps its fraction of the samples, rounded, so the number may differ from ``samples`` by as
    much as the number of classes.

    Raises
    ------
    DataError
        When the source has fewer.
    """

    def __init__(self, source: Source, samples: int, seed: int) -> None:
        if not 1 <= samples <= len(source):
            raise DataError(
                f"samples must be at least 1 and at most the {len(source):,} of {source.origin}; "
                f"got {samples:,}: take fewer"
            )
        super().__init__(source)
        self.kind, self.classes = source.kind, tuple(source.classes)
        labels = source.labels if source.kind == "class" else np.zeros(len(source), np.int64)
        whole = samples == len(source)
        taken = np.ones(len(labels), np.bool_) if whole else hold_out(labels, samples / len(labels), seed)
        self._indices = np.flatnonzero(taken)
        self.labels: NDArray[Any] = source.labels[self._indices]
        self.origin = f"{len(self._indices):,} images of {source.origin}, drawn by seed {seed}"

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        return self._source.read(int(self._indices[index]))

    def encoded(self, index: int) -> bytes | None:
        """Return image ``index`` as it is where it is a JPEG; see `Source.encoded`."""
        return self._source.encoded(int(self._indices[index]))

    def sample_name(self, index: int) -> str:
        """Name image ``index``; see `Source.sample_name`."""
        return self._source.sample_name(int(self._indices[index]))
