"""rs2: consecutive chunks of a reshuffled set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.families.rounds import Draw, Heard, RoundSampler, announced
from samplers.families.sweeps import rest_of_pass, stream
from samplers.plan import Plan


class RS2Sampler(RoundSampler):
    """The stream of permutations in rounds of N * B."""

    def probabilities(self) -> NDArray[np.float64]:
        """Return equal chances for all that are left of the permutation under way, float64[N]."""
        return rest_of_pass(self.plan.samples, self.plan.seed, self.plan.before(self.round))

    def draw(self, size: int) -> Draw:
        """Cut the next chunk from the stream."""
        start = self.plan.before(self.round)
        return Draw(stream(self.plan.samples, self.plan.seed, start, start + size))


@dataclass(frozen=True)
class RS2:
    """Shuffle, take consecutive chunks of N * B, reshuffle when used up: every sample comes equally often.

    Repeated sampling of random subsets without replacement (Okanovic et al., ICLR 2024): the strongest
    simple baseline. The counts of any two samples never differ by more than one. The ids are those of scan,
    in T rounds instead of T * B; they differ in what a schedule or an evaluation sees as a round.

    Where N * B doesn't divide N, a chunk runs on into the next permutation, so that nothing is left out and
    every round has its N * B samples. Such a round may hold a sample twice, once of either permutation.
    The released code fills it up from the head of the same permutation, one sample short, and reshuffles
    after it: no round holds a duplicate, but at B = 0.3 a fifth of the set comes twice in every four rounds,
    and counts drift apart, which the method is to avoid.
    """

    hears: ClassVar[tuple[Heard, ...]] = ()

    def build(self, plan: Plan) -> RS2Sampler:
        """Make the sampler."""
        return announced(RS2Sampler(self, plan))
