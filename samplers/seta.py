"""seta: a window over groups of equal difficulty slides from easy to hard, again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from samplers.arrays import Floats, Ids
from samplers.checks import check_at_least, check_within
from samplers.errors import SamplingError
from samplers.history import fill_unseen
from samplers.passes import LossPassSampler, Pass
from samplers.plan import Plan


def k_means_line(values: Floats, groups: int, rounds: int = 100) -> Ids:
    """Cluster numbers into groups, 0 the lowest, by k-means (Lloyd's algorithm from the quantiles).

    Parameters
    ----------
    values
        float32[n].
    groups
        k; groups that end up empty are left out, so that the numbers used have no gaps.
    rounds
        At most that many steps.

    Returns
    -------
    int64[n], each value's group.
    """
    ordered = np.sort(values)
    sums = np.append(0.0, np.cumsum(ordered, dtype=np.float64))
    centres = np.unique(ordered[(2 * np.arange(groups) + 1) * len(values) // (2 * groups)]).astype(np.float64)
    edges = np.empty(0)
    for _ in range(rounds):
        edges = (centres[1:] + centres[:-1]) / 2
        cuts = np.concatenate([[0], np.searchsorted(ordered, edges), [len(ordered)]])
        filled = np.diff(cuts) > 0
        means = np.diff(sums[cuts])[filled] / np.diff(cuts)[filled]
        if len(means) == len(centres) and np.array_equal(means, centres):
            break
        centres = means
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values, side="right").astype(np.int64)


class SeTaSampler(LossPassSampler):
    """Passes over a window of difficulty groups."""

    part: SeTa

    @property
    def _anneal(self) -> int:
        return math.ceil(self.part.delta * self.total)

    def compose(self, drawn: int) -> Pass:
        """Keep part of the set at random, group it by loss, and take the window."""
        samples, part = self.plan.samples, self.part
        kept = self.some(np.arange(samples), max(1, round((1 - part.ratio) * samples)))
        if drawn >= self._anneal:
            return Pass(kept)
        if self.passes == 0:
            return Pass(kept, until=self._anneal)
        group = k_means_line(fill_unseen(self._loss.values)[kept], part.groups)
        groups = int(group.max()) + 1
        window = math.ceil(part.window * groups)
        first = self.passes % (groups - window + 1)
        return Pass(kept[(group >= first) & (group < first + window)], until=self._anneal)


@dataclass(frozen=True)
class SeTa:
    """A window over ten groups of rising loss slides from easy to hard, pass by pass, and begins again.

    Zhou et al., CVPR 2025. A pass keeps a random 1 - r of the set (against redundancy), clusters it by last
    loss into k groups with k-means, and trains on w = ceil(alpha * k) neighbouring groups; pass n begins at
    group n mod (k - w + 1), so the window slides from easy to hard and starts over. The first pass has all
    groups; the last 1 - delta of the run trains on random 1 - r of everything, without a window.

    Fitted to the plan: passes follow one another until the budget is used up, and rounds are cut from their
    stream. Samples not seen yet count as having the largest loss. k-means starts from the quantiles here and
    from random centres in the released code, which rounds alpha * k to the nearest.
    """

    ratio: float = 0.1
    """r, the part of the set that a pass leaves out at random."""
    groups: int = 10
    """k, groups of equal difficulty."""
    window: float = 0.5
    """alpha, the part of the groups that a pass trains on."""
    delta: float = 0.875
    """Part of the run, in trained samples, after which the window is dropped."""

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise SamplingError(f"ratio must be from 0 to below 1; got {self.ratio}")
        check_at_least("groups", self.groups, 1)
        if not 0 < self.window <= 1:
            raise SamplingError(f"window must be above 0 and at most 1; got {self.window}")
        check_within("delta", self.delta, 0, 1)

    def build(self, plan: Plan) -> SeTaSampler:
        """Make the sampler."""
        return SeTaSampler(self, plan)
