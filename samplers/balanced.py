"""balanced: draws a class first, then a sample of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_within, class_labels
from samplers.draws.arrays import Doubles
from samplers.draws.tables import AliasTable
from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.plan import Plan


class BalancedSampler(RoundSampler):
    """Draws by weights that are fixed by the classes' sizes."""

    def __init__(self, part: Balanced, plan: Plan, weights: Doubles) -> None:
        super().__init__(part, plan)
        self._weights = weights
        self._alias = AliasTable(weights)

    def probabilities(self) -> NDArray[np.float64]:
        """Return P, float64[N]."""
        chances: NDArray[np.float64] = self._weights / self._weights.sum()
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Draw with replacement."""
        return RoundDraft(self._alias.draw(size, self.key("order")))


@dataclass(frozen=True)
class Balanced:
    """Classes equally often, whatever their sizes: draws a class, then a sample uniformly within it.

    Class-balanced sampling, and what lies between it and plain sampling (Kang et al. 2020, eq. 1)::

        P(class c) = n_c^q / sum_j n_j^q,    P_i = P(class of i) / n_(class of i)

    with n_c samples of class c. q = 0 draws all classes equally often, q = 1/2 is square-root sampling, q = 1
    draws all samples equally often. Draws are independent, with replacement. Needs the plan's labels.
    """

    power: float = 0.0
    """q, from 0 (classes equally often) to 1 (samples equally often)."""

    needs: ClassVar[tuple[Statistic, ...]] = ()
    reads_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_within("power", self.power, 0, 1)

    def build(self, plan: Plan) -> BalancedSampler:
        """Return the sampler.

        Raises
        ------
        SamplingError
            When the plan has no labels.
        """
        labels = class_labels("balanced", plan)
        counts = np.bincount(labels).astype(np.float64)
        return announced(BalancedSampler(self, plan, counts[labels] ** (self.power - 1)))
