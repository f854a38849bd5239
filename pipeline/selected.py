"""A data set of some of another's samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.formats import Converted
from pipeline.indexed import Indexed


class Selected(Indexed):
    """A view of some samples of a converted data set, numbered from 0.

    Parameters
    ----------
    dataset
        The data set.
    ids
        int64[n], ids of its samples, in the view's sequence.

    Attributes
    ----------
    card
        The data set's, with the counts of the view; digest, mean and standard deviation are the file's.
    """

    def __init__(self, dataset: Converted, ids: NDArray[np.int64]) -> None:
        super().__init__(dataset, ids)
        self.card = replace(dataset.card, samples=len(self.stored), class_counts=self._counts())

    def __repr__(self) -> str:
        return f"{len(self):,} samples of {self.dataset!r}"

    def at(self, level: int) -> Selected:
        """Return the same samples at one of the stored sizes (``levels``)."""
        return Selected(self.dataset.at(level), self.stored)

    def _counts(self) -> tuple[int, ...]:
        """Samples of each class, or with each label; none for other targets."""
        card, label = self.dataset.card, self.targets.get("label")
        if label is None or not card.class_counts:
            return card.class_counts
        if card.target == "class":
            return tuple(np.bincount(label, minlength=len(card.class_counts)).tolist())
        return tuple(label.sum(axis=0, dtype=np.int64).tolist())
