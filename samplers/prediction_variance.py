"""prediction_variance: draws samples of high prediction variance more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from samplers.checks import check_at_least
from samplers.draws.arrays import Floats
from samplers.families.history import Moments, fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


@dataclass(frozen=True)
class PredictionVariance:
    """Samples of high prediction variance more often: P proportional to the spread of past p_y.

    SGD-SPV (Chang et al. 2017) in the form of "Sample importance in SGD training", eq. 6::

        P_i proportional to sqrt(v_i + v_i^2 / (n_i - 1)) + eps

    v_i is the variance of the probability of the true class over the n_i times that sample i was seen; the
    second term accounts for the uncertainty of v_i itself. The first ``burn_in`` epochs scan the set, then
    all draws are independent (with replacement). The equation has the epoch's earlier draws among its
    arguments but, unlike eq. 1, excludes none of them; and excluding them over whole epochs would draw every
    sample exactly once per epoch, whatever the weights. ``replacement=False`` does exclude them: at B = 1,
    the paper's budget, it is scan, and below, the weights matter less as B approaches 1. Samples seen less
    than twice get the current maximum. If images are mixed, rows are weighted by their coefficients and n_i
    is (sum of coefficients)^2 / (sum of squared coefficients).
    """

    burn_in: float = 10
    """Initial epochs that scan the set; at most half of the run."""
    eps: float = 0.2
    """Added to every importance, so that samples of stable predictions are still drawn."""
    replacement: bool = True
    """Draw with replacement within a round."""

    needs: ClassVar[tuple[Statistic, ...]] = ("p_true",)

    def __post_init__(self) -> None:
        check_at_least("burn_in", self.burn_in, 0)
        check_at_least("eps", self.eps, 0)

    def build(self, plan: Plan) -> WeightedSampler[Moments]:
        """Return the sampler."""
        return announced(WeightedSampler(self, plan, replacement=self.replacement, burn_in=self.burn_in))

    def table(self, samples: int) -> Moments:
        """Return an empty table of the moments of p_y per sample."""
        return Moments(samples)

    def importance(self, table: Moments, number: int) -> Floats:
        """Return the right-hand side of eq. 6."""
        variance = table.variance()
        free = np.maximum(table.count() - 1, np.float32(1e-3))
        spread: Floats = np.sqrt(variance + variance**2 / free)
        return fill_unseen(spread) + np.float32(self.eps)
