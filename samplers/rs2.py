"""rs2: consecutive chunks of a reshuffled set; and the stream of permutations that scan cuts, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samplers import counter
from samplers.base import Draw, RoundSampler
from samplers.plan import Plan
from samplers.shuffle import permutation


def stream(plan: Plan, start: int, stop: int) -> NDArray[np.int64]:
    """Return positions ``start`` to ``stop`` of the endless stream of permutations of the whole set."""
    parts = []
    for number in range(start // plan.samples, -(-stop // plan.samples)):
        first = number * plan.samples
        order = permutation(plan.samples, counter.make_key(plan.seed, "pass", number))
        parts.append(order[max(start - first, 0) : stop - first])
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


class RS2Sampler(RoundSampler):
    """The stream of permutations in rounds of N * B."""

    def draw(self, size: int) -> Draw:
        """Cut the next chunk from the stream."""
        start = self.round * self.plan.total // self.rounds
        return Draw(stream(self.plan, start, start + size))


@dataclass(frozen=True)
class RS2:
    """Shuffle, take consecutive chunks of N * B, reshuffle when used up: every sample comes equally often.

    Repeated sampling of random subsets without replacement (Okanovic et al., ICLR 2024): the strongest
    simple baseline. The counts of any two samples never differ by more than one. The ids are those of scan,
    in T rounds instead of T * B; they differ in what a schedule or an evaluation sees as a round. The
    paper's chunks are of equal size and its code drops the remainder of a permutation that doesn't divide;
    here a chunk may run on into the next permutation, and nothing is dropped.
    """

    def build(self, plan: Plan) -> RS2Sampler:
        """Make the sampler."""
        return RS2Sampler(self, plan)
