"""A data set with several copies of the samples of all or some classes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.formats import Converted
from pipeline.indexed import Indexed
from pipeline.randomness import Keys, permutation


class Multiplied(Indexed):
    """A view of a converted data set with several copies of samples, each with its own id.

    Nothing is stored twice. The first ids are the data set's own; copies 1 to ``times`` - 1 follow, in
    sequence. With `pipeline.augment.multi.Multi` as augmentation each copy gets another one, and
    samplers learn each copy's importance: the experiments of the sample-importance paper, sections 4.3 (some
    classes) and 4.4 (all).

    Parameters
    ----------
    dataset
        The data set to multiply.
    times
        Number of copies of a sample, the paper's A.
    classes
        Labels whose samples are multiplied; None for all. Others occur once.

    Attributes
    ----------
    stored
        int64[n], for each id of the view the id in ``dataset``.
    copies
        int64[n], for each id the number of the copy, from 0.
    card
        The data set's own: its counts and its digest are those of the file.

    Raises
    ------
    DataError
        On ``times`` below 1, and on classes that no sample has.
    """

    def __init__(self, dataset: Converted, times: int, classes: Collection[int] | None = None) -> None:
        if times < 1:
            raise DataError(f"times must be at least 1, the copies of a sample; got {times}")
        all_ids = np.arange(len(dataset))
        chosen = all_ids
        if classes is not None:
            unknown = sorted(set(classes) - set(np.unique(dataset.labels).tolist()))
            if unknown:
                raise DataError(
                    f"classes must be labels of the data set; got {unknown[0]}, which no sample has"
                )
            chosen = np.flatnonzero(np.isin(dataset.labels, list(classes)))
        super().__init__(dataset, np.concatenate([all_ids, np.tile(chosen, times - 1)]))
        self.times = times
        self.classes = classes
        self.copies: NDArray[np.int64] = np.concatenate(
            [np.zeros(len(dataset), dtype=np.int64), np.repeat(np.arange(1, times), len(chosen))]
        )

    def at(self, level: int) -> Multiplied:
        """Return the same view of the data set at one of its ``levels``."""
        return Multiplied(self.dataset.at(level), self.times, self.classes)

    def name(self, index: int) -> str:
        """Return the name of a sample in its source, and the number of the copy, from 1."""
        name, copy = super().name(index), int(self.copies[index])
        return f"{name}, copy {copy + 1}" if copy else name


def choose_classes(classes: int, fraction: float, seed: int) -> list[int]:
    """Draw round(fraction * classes) of the labels below ``classes`` uniformly, by ``seed`` alone.

    Raises
    ------
    DataError
        When that is 0.
    """
    count = round(fraction * classes)
    if count == 0:
        raise DataError(
            f"the fraction of classes to multiply must come to at least one; got {fraction:g} of {classes}: "
            f"raise it to {1 / classes:.3g}"
        )
    keys = Keys(seed, 0, 0, np.arange(classes), np.zeros(classes, np.int64))
    return sorted(permutation(keys, "multiplied/classes")[:count].tolist())
