"""loss_proportional and loss_rank: prioritized replay by the last loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from samplers.checks import check_at_least
from samplers.draws.arrays import Doubles, Floats
from samplers.families.history import Recent, fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


@dataclass(frozen=True)
class LossProportional:
    """High losses more often: P proportional to a power of the last loss.

    SGD-Prop of "Sample importance in SGD training", section 4, the proportional variant of prioritized replay
    (Schaul et al. 2015)::

        P_i = p_i^alpha / sum_j p_j^alpha,    p_i = |loss_i| + eps

    alpha = 0.6 is from the replay paper. Samples not seen yet get the largest loss, as new transitions do
    there. The equation draws samples independently, so a round may hold one more than once;
    ``replacement=False`` draws without replacement: the weights then matter less as B approaches 1, and not
    at all at B = 1.
    """

    alpha: float = 0.6
    """Exponent of the loss: 0 is uniform."""
    eps: float = 1e-6
    """Added to every loss, so that samples of loss 0 are still drawn."""
    replacement: bool = True
    """Draw with replacement within a round."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("alpha", self.alpha, 0)
        check_at_least("eps", self.eps, 0)

    def build(self, plan: Plan) -> WeightedSampler[Recent]:
        """Return the sampler."""
        return announced(WeightedSampler(self, plan, replacement=self.replacement))

    def table(self, samples: int) -> Recent:
        """Return an empty table of the last loss per sample."""
        return Recent(samples)

    def importance(self, table: Recent, number: int) -> Floats:
        """Return p^alpha."""
        weights: Floats = (fill_unseen(np.abs(table.values)) + np.float32(self.eps)) ** np.float32(self.alpha)
        return weights


def ranks(values: Floats) -> Doubles:
    """Return the rank of each value, 1 for the largest; equal values share the mean of their ranks."""
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ends = np.append(begins[1:], len(values))
    shared = np.empty(len(values))
    shared[order] = np.repeat((begins + 1 + ends) / 2, ends - begins)
    return shared


@dataclass(frozen=True)
class LossRank:
    """High losses more often: P proportional to a power of 1 / rank by the last loss.

    SGD-Rank of "Sample importance in SGD training", section 4, the rank-based variant of prioritized replay
    (Schaul et al. 2015)::

        P_i = (1 / rank_i)^alpha / sum_j (1 / rank_j)^alpha

    Rank 1 has the largest |loss|; alpha = 0.7 is from the replay paper. Ranks are insensitive to the scale of
    the loss and to outliers. Samples not seen yet share the first ranks with the largest loss; equal losses
    share the mean of their ranks. Drawn with or without replacement, as loss_proportional.
    """

    alpha: float = 0.7
    """Exponent of 1 / rank: 0 is uniform."""
    replacement: bool = True
    """Draw with replacement within a round."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("alpha", self.alpha, 0)

    def build(self, plan: Plan) -> WeightedSampler[Recent]:
        """Return the sampler."""
        return announced(WeightedSampler(self, plan, replacement=self.replacement))

    def table(self, samples: int) -> Recent:
        """Return an empty table of the last loss per sample."""
        return Recent(samples)

    def importance(self, table: Recent, number: int) -> Doubles:
        """Return (1 / rank)^alpha."""
        return ranks(fill_unseen(np.abs(table.values))) ** -self.alpha
