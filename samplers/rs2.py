"""rs2: consecutive chunks of a reshuffled set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.families.sweeps import rest_of_sweep, stream
from samplers.plan import Plan


class RS2Sampler(RoundSampler):
    """The stream of permutations in rounds of N * B."""

    def probabilities(self) -> NDArray[np.float64]:
        """Return equal probabilities for the rest of the current permutation, float64[N]."""
        return rest_of_sweep(self.plan.samples, self.plan.seed, self.plan.before(self.round))

    def draw(self, size: int) -> RoundDraft:
        """Cut the next chunk from the stream."""
        start = self.plan.before(self.round)
        return RoundDraft(stream(self.plan.samples, self.plan.seed, start, start + size))


@dataclass(frozen=True)
class RS2:
    """Shuffle, take consecutive chunks of N * B, reshuffle when used up: all samples are drawn equally often.

    Repeated sampling of random subsets without replacement (Okanovic et al., ICLR 2024): the strongest
    simple baseline. The counts of any two samples never differ by more than one. The ids are those of scan,
    in T rounds instead of T * B; schedules and evaluations per round differ.

    If N * B doesn't divide N, a chunk continues into the next permutation, so that no sample is left out and
    every round has N * B samples. Such a round may hold a sample twice, once from each permutation.
    The released code fills it up from the start of the same permutation, one sample short, and reshuffles
    after it: no round holds a duplicate, but at B = 0.3 a fifth of the set is drawn twice in every four
    rounds, and counts drift apart, which the method is meant to avoid.
    """

    needs: ClassVar[tuple[Statistic, ...]] = ()

    def build(self, plan: Plan) -> RS2Sampler:
        """Return the sampler."""
        return announced(RS2Sampler(self, plan))
