"""Sample importance over runs: class importance, rank correlations, and means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.reporting.lineup import Group, Lineup
from tools.reporting.record import Samples

Floats = NDArray[np.float64]


def class_importance(weights: Floats, labels: NDArray[np.int64], classes: int) -> Floats:
    """Class importance of the sample-importance paper, section 4.2: each class's fraction of all weights.

    The sum of w_i over the samples of class c, divided by the sum over all samples.

    Returns
    -------
    float64[classes] of sum 1; all 0 if no sample has weight.
    """
    sums = np.bincount(labels, weights, minlength=classes)
    return sums / (sums.sum() or 1.0)


def ranks(values: Floats) -> Floats:
    """Return ranks from 1 in ascending order; ties have the mean of their ranks."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: Floats = np.cumsum(counts) - (counts - 1) / 2
    return shared[which]


def spearman(rows: Floats) -> Floats:
    """Return Spearman's rank correlation of every two rows, with mean ranks for ties.

    Returns
    -------
    float64[n, n]; nan if one of the two rows is constant.
    """
    # Ranked once per row and in float64: products of N ranks are of the order of N cubed.
    centered = np.stack([ranks(row) for row in rows]) - (rows.shape[1] + 1) / 2
    norms = np.sqrt((centered**2).sum(axis=1))
    unit = np.divide(centered, norms[:, None], out=np.full_like(centered, np.nan), where=norms[:, None] > 0)
    found: Floats = np.clip(unit @ unit.T, -1, 1)
    return found


@dataclass(frozen=True, slots=True)
class Weighted:
    """A group of runs with sample weights on one data set.

    Attributes
    ----------
    label, color
        As on the rest of the page.
    weights
        float64[runs, N].
    importances
        float64[runs, classes].
    """

    label: str
    color: int
    weights: Floats
    importances: Floats

    @property
    def mean(self) -> Floats:
        """Mean weights over the runs, float64[N]."""
        means: Floats = self.weights.mean(axis=0)
        return means


def weighted(lineup: Lineup) -> tuple[list[Weighted], Samples | None, list[str]]:
    """Return groups of runs with sample weights, their samples, and the labels of omitted runs.

    The data set is the first run's with weights; runs on others are omitted.
    """
    first = next((samples for entry in lineup if (samples := _own(entry.run.samples)) is not None), None)
    if first is None:
        return [], None, []
    classes = int(first.label.max()) + 1
    groups, left_out = [], []
    for group in lineup.groups:
        found = []
        for entry in group.entries:
            samples = _own(entry.run.samples)
            if samples is None or samples.weight is None:
                continue
            if np.array_equal(samples.label, first.label) and samples.classes == first.classes:
                found.append(samples.weight)
            else:
                left_out.append(entry.label)
        if found:
            groups.append(_group(group, found, first.label, classes))
    return groups, first, left_out


def _own(samples: Samples | None) -> Samples | None:
    """Return the samples whose weights are all known."""
    if samples is None or samples.weight is None or not len(samples.label):
        return None
    return samples if np.isfinite(samples.weight).all() and samples.label.min() >= 0 else None


def _group(group: Group, found: Sequence[Floats], labels: NDArray[np.int64], classes: int) -> Weighted:
    importances = np.array([class_importance(weights, labels, classes) for weights in found])
    return Weighted(group.label, group.entries[0].color, np.array(found), importances)


def mean_of_pairs(matrix: Floats) -> float | None:
    """Return the mean over the known pairs of a matrix of correlations; None if there are none."""
    above = matrix[np.triu_indices(len(matrix), 1)]
    known = above[np.isfinite(above)]
    return float(known.mean()) if len(known) else None
