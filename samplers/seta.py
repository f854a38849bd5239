"""seta: a window over groups of similar difficulty slides from easy to hard, repeatedly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from samplers.checks import check_at_least, check_within
from samplers.errors import SamplingError
from samplers.families.history import fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.sweeps import LossSweepSampler, Sweep
from samplers.grouping.k_means_line import k_means_line
from samplers.plan import Plan


class SeTaSampler(LossSweepSampler):
    """Passes over a window of difficulty groups."""

    part: SeTa

    @property
    def _anneal(self) -> int:
        return math.ceil(self.part.delta * self.total)

    def compose(self, drawn: int) -> Sweep:
        """Keep a random fraction of the set, group it by loss, and take the window."""
        samples, part = self.plan.samples, self.part
        kept = self.some(np.arange(samples), max(1, round((1 - part.ratio) * samples)))
        if drawn >= self._anneal:
            return Sweep(kept)
        if self.sweeps == 0:
            return Sweep(kept, until=self._anneal)
        group = k_means_line(fill_unseen(self._loss.values)[kept], part.groups)
        groups = int(group.max()) + 1
        window = math.ceil(part.window * groups)
        first = self.sweeps % (groups - window + 1)
        return Sweep(kept[(group >= first) & (group < first + window)], until=self._anneal)


@dataclass(frozen=True)
class SeTa:
    """A window over ten groups of increasing loss slides from easy to hard, sweep by sweep, and starts over.

    Zhou et al., CVPR 2025. A sweep keeps a random fraction 1 - r of the set (against redundancy), clusters it
    by last loss into k groups with k-means, and trains on w = ceil(alpha * k) neighboring groups; sweep n
    begins at group n mod (k - w + 1), so the window slides from easy to hard and starts over. The first sweep
    has all groups; the last 1 - delta of the run trains on a random 1 - r of the whole set, without a window.

    Fitted to the plan: sweeps follow one another until the budget is used up, and rounds are taken from their
    stream: a round that spans two sweeps may hold a sample twice, where the released code has one sweep per
    epoch. Samples not seen yet are treated as having the largest loss. k-means is exact here; the released
    code runs Lloyd's algorithm from random centers, which converges to worse groups, and rounds alpha * k to
    the nearest integer.
    """

    ratio: float = 0.1
    """r, the fraction of the set that a sweep leaves out at random."""
    groups: int = 10
    """k, the number of groups by loss."""
    window: float = 0.5
    """alpha, the fraction of the groups that a sweep trains on."""
    delta: float = 0.875
    """Fraction of the run, in trained samples, after which the window is dropped."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise SamplingError(f"ratio must be from 0 to below 1; got {self.ratio}")
        check_at_least("groups", self.groups, 1)
        if not 0 < self.window <= 1:
            raise SamplingError(f"window must be above 0 and at most 1; got {self.window}")
        check_within("delta", self.delta, 0, 1)

    def build(self, plan: Plan) -> SeTaSampler:
        """Return the sampler."""
        return announced(SeTaSampler(self, plan))
