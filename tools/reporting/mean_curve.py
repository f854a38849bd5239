"""Accuracy over training as a mean over runs, and its spread: the sample-importance paper's measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.reporting.lineup import Group

ROUNDING = 1e-9
"""Accuracies closer to each other are equal: they are fractions of thousands, and their means round."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Accuracy over training, as a mean over runs.

    Attributes
    ----------
    steps
        float64[n], optimizer steps at each evaluation.
    rounds
        float64[n], its round.
    accuracies
        float64[runs, n].
    """

    steps: NDArray[np.float64]
    rounds: NDArray[np.float64]
    accuracies: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64[n]."""
        means: NDArray[np.float64] = self.accuracies.mean(axis=0)
        return means

    @property
    def best(self) -> int:
        """Index of the maximum of the mean, the first where it is reached several times."""
        mean = self.mean
        return int((mean >= mean.max() - ROUNDING).argmax())

    @property
    def highest(self) -> float:
        """Maximum mean accuracy: A_b, of the baseline."""
        return float(self.mean.max())


def curve(group: Group) -> Curve | None:
    """The mean curve of a group's finished runs, at the rounds that all of them evaluated; None for none."""
    runs = [entry.run.evaluations for entry in group.entries if entry.run.finished]
    runs = [series for series in runs if len(series)]
    if not runs:
        return None
    # A round that was evaluated twice counts as it was last.
    found = []
    for series in runs:
        known = np.isfinite(series["round"]) & np.isfinite(series["accuracy"]) & np.isfinite(series["step"])
        columns = zip(*(series[name][known].tolist() for name in ("round", "accuracy", "step")), strict=True)
        found.append({round_: (accuracy, step) for round_, accuracy, step in columns})
    shared = sorted(set.intersection(*(set(at) for at in found)))
    if not shared:
        return None
    both = np.array([[at[round_] for round_ in shared] for at in found])
    return Curve(both[:, :, 1].mean(axis=0), np.array(shared), both[:, :, 0])


def percentiles(accuracies: Sequence[float]) -> tuple[float, float]:
    """16th and 84th percentile, between the nearest runs in proportion: the paper's spread."""
    low, high = np.percentile(accuracies, (16, 84)).tolist()
    return low, high
