"""A source of some of the images of another one, drawn at random."""

from __future__ import annotations

import numpy as np

from pipeline.errors import DataError
from pipeline.sources.holdout import hold_out
from pipeline.sources.protocol import Source
from pipeline.sources.some import Some


class Sampled(Some):
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
        labels = source.labels if source.kind == "class" else np.zeros(len(source), np.int64)
        whole = samples == len(source)
        taken = np.ones(len(labels), np.bool_) if whole else hold_out(labels, samples / len(labels), seed)
        super().__init__(source, np.flatnonzero(taken))
        self.origin = f"{len(self):,} images of {source.origin}, drawn by seed {seed}"
