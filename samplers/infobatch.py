"""infobatch: skips well-learned samples at random and rescales the loss of those kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.errors import SamplingError
from samplers.families.rounds import Statistic, announced
from samplers.families.sweeps import LossSweepSampler, Sweep
from samplers.plan import Plan


class InfoBatchSampler(LossSweepSampler):
    """Passes that leave out a fraction of the samples below the mean loss."""

    part: InfoBatch

    @property
    def _anneal(self) -> int:
        return math.ceil(self.part.delta * self.total)

    def _easy(self) -> Ids:
        losses = self._loss.values
        seen = ~np.isnan(losses)
        if not seen.any():
            return np.empty(0, np.int64)
        return np.flatnonzero(losses < losses.mean(where=seen, dtype=np.float64))

    def _kept(self, easy: int) -> int:
        return max(1, round((1 - self.part.ratio) * easy)) if easy else 0

    def inclusion(self, drawn: int) -> Doubles:
        """Return 1, or the kept fraction for samples below the mean loss."""
        chances = np.ones(self.plan.samples)
        easy = self._easy()
        if len(easy) and drawn < self._anneal:
            chances[easy] = self._kept(len(easy)) / len(easy)
        return chances

    def compose(self, drawn: int) -> Sweep:
        """Prune, or take the whole set in the last part of the run."""
        everything = np.arange(self.plan.samples)
        easy = self._easy()
        if drawn >= self._anneal or not len(easy):
            return Sweep(everything)
        kept = self.some(easy, self._kept(len(easy)))
        weights: Floats = np.ones(self.plan.samples, np.float32)
        weights[easy] = 0
        weights[kept] = len(easy) / len(kept)
        ids = everything[weights > 0]
        return Sweep(ids, weights[ids], until=self._anneal)


@dataclass(frozen=True)
class InfoBatch:
    """Skips half of the samples below the mean loss at random and doubles the weight of the other half.

    Qin et al., ICLR 2024. A sweep over the set keeps every sample whose last loss is at least the mean (or
    that has none yet), and each other with probability 1 - r, its loss multiplied by 1 / (1 - r): the sum
    of the gradients keeps its expectation while the sweep gets shorter, so multipliers are above 1 on
    average. The last 1 - delta of the run trains on the whole set with weight 1.

    Fitted to the plan: sweeps follow one another until the budget is used up, and rounds are taken from their
    stream: a round that spans two sweeps may hold a sample twice, where the released code has one sweep per
    epoch. Of n samples below the mean, k = round((1 - r) * n) are kept with multiplier n / k. The released
    code keeps int((1 - r) * n) but still multiplies by 1 / (1 - r), starts from a loss of 3 for every sample,
    and if delta * epochs is not an integer its last sweeps keep the multipliers.
    """

    ratio: float = 0.5
    """r, the fraction of the samples below the mean loss that a sweep leaves out."""
    delta: float = 0.875
    """Fraction of the run, in trained samples, after which nothing is left out."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        if not 0 <= self.ratio < 1:
            raise SamplingError(f"ratio must be from 0 to below 1; got {self.ratio}")
        if not 0 <= self.delta <= 1:
            raise SamplingError(f"delta must be from 0 to 1; got {self.delta}")

    def build(self, plan: Plan) -> InfoBatchSampler:
        """Return the sampler."""
        return announced(InfoBatchSampler(self, plan))
