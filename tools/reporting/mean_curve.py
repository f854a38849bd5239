"""Mean and spread of a metric over runs during training: the sample-importance paper's measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.reporting.lineup import Group

ROUNDING = 1e-9
"""Values closer than this are equal: accuracies are fractions of thousands, and their means are rounded."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The primary metric over training, as a mean over runs.

    Attributes
    ----------
    steps
        float64[n], optimizer steps at each evaluation.
    rounds
        float64[n], round of each evaluation.
    values
        float64[runs, n].
    higher_is_better
        Whether higher values of the metric are better.
    """

    steps: NDArray[np.float64]
    rounds: NDArray[np.float64]
    values: NDArray[np.float64]
    higher_is_better: bool = True

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64[n]."""
        means: NDArray[np.float64] = self.values.mean(axis=0)
        return means

    @property
    def best(self) -> int:
        """Index of the best mean, the first if there are several."""
        return int(self.reaches(self.best_mean).argmax())

    @property
    def best_mean(self) -> float:
        """Best mean, a maximum or a minimum: A_b for the baseline."""
        return float(self.mean.max() if self.higher_is_better else self.mean.min())

    def reaches(self, target: float, tolerance: float = 0.0) -> NDArray[np.bool_]:
        """Return bool[n], whether the mean is as good as ``target``, or no more than ``tolerance`` worse."""
        slack = tolerance + ROUNDING
        reached: NDArray[np.bool_] = (
            self.mean >= target - slack if self.higher_is_better else self.mean <= target + slack
        )
        return reached


def curve(group: Group) -> Curve | None:
    """Return the mean curve of a group's finished runs, at rounds that all evaluated; None for none."""
    runs = [entry.run for entry in group.entries if entry.run.finished and len(entry.run.evaluations)]
    if not runs:
        return None
    both = shared(
        [np.stack([run.evaluations["round"], run.results, run.evaluations["step"]]) for run in runs]
    )
    if both is None:
        return None
    rounds, values, steps = both
    return Curve(steps.mean(axis=0), rounds[0], values, group.metric.higher_is_better)


def shared(runs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the columns of several runs at the rounds that all of them have: float64[columns, runs, rounds].

    Parameters
    ----------
    runs
        float64[columns, n] each, the first column being the round; what isn't finite is left out, and of a
        round that stands twice the later one counts.

    Returns
    -------
    None where no round is shared.
    """
    found = []
    for columns in runs:
        known = columns[:, np.isfinite(columns).all(axis=0)]
        found.append({column[0]: column for column in known.T.tolist()})
    rounds = sorted(set.intersection(*(set(at) for at in found)))
    if not rounds:
        return None
    return np.array([[at[round_] for round_ in rounds] for at in found]).transpose(2, 0, 1)


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 16th and 84th percentiles, interpolated linearly: the paper's spread."""
    low, high = np.percentile(values, (16, 84)).tolist()
    return low, high
