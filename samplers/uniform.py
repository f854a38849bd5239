"""uniform: a new random subset every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.draws.shuffle import in_passes
from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.plan import Plan


class UniformSampler(RoundSampler):
    """Independent uniform subsets."""

    def probabilities(self) -> NDArray[np.float64]:
        """Return 1 / N for all samples, float64[N]."""
        return np.full(self.plan.samples, 1 / self.plan.samples)

    def draw(self, size: int) -> RoundDraft:
        """Draw a uniform subset."""
        return RoundDraft(in_passes(self.plan.samples, size, self.key("order")))


@dataclass(frozen=True)
class Uniform:
    """A new uniformly random subset of N * B samples every round.

    "unif-SGD" of Arazo et al. (2021), section 3: drawn without replacement within a round, independently
    between rounds, for all T rounds. A sample is left out of a round with probability 1 - B, so counts vary
    more than under rs2. At B = 1 every round is a permutation of the set, as in scan.
    """

    needs: ClassVar[tuple[Statistic, ...]] = ()

    def build(self, plan: Plan) -> UniformSampler:
        """Return the sampler."""
        return announced(UniformSampler(self, plan))
