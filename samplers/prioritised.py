"""loss_proportional and loss_rank: prioritised replay by the last loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from samplers.checks import check_at_least
from samplers.draws.arrays import Doubles, Floats
from samplers.families.history import Recent, fill_unseen
from samplers.families.rounds import Heard, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


@dataclass(frozen=True)
class LossProportional:
    """High losses more often: P proportional to a power of the last loss.

    SGD-Prop of "Sample importance in SGD training", section 4, the proportional variant of prioritised replay
    (Schaul et al. 2015)::

        P_i = p_i^alpha / sum_j p_j^alpha,    p_i = |loss_i| + eps

    alpha 0.6 is the replay paper's. Samples not seen yet get the largest loss, as new transitions do there.
    The equation draws every sample anew, so a round may hold one more than once; ``replacement=False``
    draws it without replacement, where the weights decide ever less as B nears 1, and nothing at 1.
    """

    alpha: float = 0.6
    """How strongly the loss decides: 0 is uniform."""
    eps: float = 1e-6
    """Added to every loss, so that samples of loss 0 still come."""
    replacement: bool = True
    """Draw with replacement within a round."""

    hears: ClassVar[tuple[Heard, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("alpha", self.alpha, 0)
        check_at_least("eps", self.eps, 0)

    def build(self, plan: Plan) -> WeightedSampler[Recent]:
        """Make the sampler."""
        return announced(WeightedSampler(self, plan, replacement=self.replacement))

    def table(self, samples: int) -> Recent:
        """Make the table of each sample's last loss."""
        return Recent(samples)

    def importance(self, table: Recent, number: int) -> Floats:
        """Return p^alpha."""
        weights: Floats = (fill_unseen(np.abs(table.values)) + np.float32(self.eps)) ** np.float32(self.alpha)
        return weights


def ranks(values: Floats) -> Doubles:
    """Rank of each value, 1 for the largest; equal values share the mean of their ranks."""
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

    SGD-Rank of "Sample importance in SGD training", section 4, the rank-based variant of prioritised replay
    (Schaul et al. 2015)::

        P_i = (1 / rank_i)^alpha / sum_j (1 / rank_j)^alpha

    Rank 1 has the largest |loss|; alpha 0.7 is the replay paper's. Ranks don't care for the scale of the loss
    nor for outliers. Samples not seen yet share the front with the largest loss; equal losses share the
    mean of their ranks. Drawn with replacement, or without, as loss_proportional.
    """

    alpha: float = 0.7
    """How strongly the rank decides: 0 is uniform."""
    replacement: bool = True
    """Draw with replacement within a round."""

    hears: ClassVar[tuple[Heard, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("alpha", self.alpha, 0)

    def build(self, plan: Plan) -> WeightedSampler[Recent]:
        """Make the sampler."""
        return announced(WeightedSampler(self, plan, replacement=self.replacement))

    def table(self, samples: int) -> Recent:
        """Make the table of each sample's last loss."""
        return Recent(samples)

    def importance(self, table: Recent, number: int) -> Doubles:
        """Return (1 / rank)^alpha."""
        return ranks(fill_unseen(np.abs(table.values))) ** -self.alpha
