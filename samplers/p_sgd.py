"""p_sgd: draws difficult samples more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_warmup
from samplers.families.history import Mean, Recent, fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


def mean_error(table: Mean | Recent) -> NDArray[np.float32]:
    """Return a, float32[N]: 1 minus the table's p_y, and the maximum for samples not seen yet."""
    return fill_unseen(np.float32(1) - table.values)


@dataclass(frozen=True)
class PSGD:
    """Difficult samples more often: P proportional to the mean error 1 - p_y, smoothed by its mean.

    Arazo et al. (2021), eq. 2 and 3 (after Chang et al. 2017): each round draws N * B samples without
    replacement with ::

        a_i = mean over the times seen of (1 - p_y)
        p_i = a_i + eps,    eps = (1 / N) sum_j a_j
        P_i = p_i / sum_j p_j

    Eq. 2 averages over all epochs up to t; a sample has predictions only from rounds in which it was drawn,
    so the mean is over those, weighted by the sample's mixing coefficient if images are mixed. Samples
    not seen yet get the largest a. Before any feedback, and during the warm-up, draws are uniform.
    The released code attributes a mixed image's error to only one of its samples, and computes it against
    the label of another.

    Without replacement the weights matter less as B approaches 1, and not at all at B = 1: a round of N
    samples takes each once, as scan does. The paper draws only at B < 1.

    Under mixing the equation measures coefficients more than difficulty: a network that has learned all
    samples predicts a sample of coefficient s with p_y = s, an error of 1 - s, which averages the same for
    every sample. ``relative`` uses the error max(0, s - p_y) / s instead: 1 - p_y for a plain image, and 0
    for a sample predicted with its coefficient. This is not in the paper.
    """

    warmup_rounds: int = 0
    """Initial rounds drawn uniformly (70 of 200 in table 1 of the paper, none with a budget)."""
    smoothing: bool = True
    """Add eps; without it, samples always classified correctly are never drawn again (figure 1)."""
    average: bool = True
    """Average the error over all times seen; False uses the last prediction only (figure 1)."""
    relative: bool = False
    """Under mixing, measure the error relative to the sample's mixing coefficient."""

    needs: ClassVar[tuple[Statistic, ...]] = ("p_true",)

    def __post_init__(self) -> None:
        check_warmup(self.warmup_rounds)

    def build(self, plan: Plan) -> WeightedSampler[Mean | Recent]:
        """Return the sampler."""
        check_warmup(self.warmup_rounds, plan)
        return announced(WeightedSampler(self, plan))

    def table(self, samples: int) -> Mean | Recent:
        """Return an empty table of p_y per sample: the mean, or the last value."""
        table = Mean if self.average else Recent
        return table(samples, relative=self.relative)

    def importance(self, table: Mean | Recent, number: int) -> NDArray[np.float32] | None:
        """Return p of eq. 2."""
        if number < self.warmup_rounds:
            return None
        error = mean_error(table)
        return error + np.float32(error.mean(dtype=np.float64)) if self.smoothing else error
