"""subset: one fixed subset for the whole run (static pruning)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.draws.arrays import Ids
from samplers.draws.counter import make_key
from samplers.draws.shuffle import permutation
from samplers.errors import SamplingError
from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.families.sweeps import rest_of_sweep, stream
from samplers.plan import Plan
from samplers.scores import Scores


class SubsetSampler(RoundSampler):
    """Passes over a fixed subset."""

    def __init__(self, part: Subset, plan: Plan, ids: Ids) -> None:
        super().__init__(part, plan)
        self.ids = ids

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds a note if the subset is the whole set, so that nothing is left out."""
        if len(self.ids) < self.plan.samples:
            return super().notes
        return (
            *super().notes,
            f"the subset holds all {len(self.ids):,} samples, so that nothing is left out: lower keep or the "
            "budget",
        )

    def memory(self) -> dict[str, Ids]:
        """Return the subset, so that a resumed run doesn't need the scores file."""
        return {"ids": self.ids}

    def probabilities(self) -> NDArray[np.float64]:
        """Return equal probabilities for the rest of the current sweep over the subset, float64[N]."""
        chances = np.zeros(self.plan.samples)
        start = self.plan.before(self.round)
        chances[self.ids] = rest_of_sweep(len(self.ids), self.plan.seed, start)
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Cut the next chunk from the stream of the subset's permutations."""
        start = self.plan.before(self.round)
        return RoundDraft(self.ids[stream(len(self.ids), self.plan.seed, start, start + size)])


@dataclass(frozen=True)
class Subset:
    """A fixed subset for the whole run: random, or the highest (or lowest) scores of a file.

    Static pruning, as in figure 1 of Arazo et al. (2021): by default N * B samples are kept and each is
    trained on in all T epochs. With ``keep`` the kept fraction is set separately ("Sample importance in SGD
    training" keeps the highest EL2N: 0.7 on CIFAR-10, 0.9 on CIFAR-100), and passes over it continue until
    the budget is used up; a round that spans two of them may then hold a sample twice. Ties at the
    threshold are broken at random. Scores of EL2N, forgetting counts, k-center and facility location come
    from a file that ``samplers.scores`` reads; their cost is not part of the plan.
    """

    scores: Path | None = None
    """A scores file; by default the subset is random."""
    keep: float | None = None
    """Fraction of the set that is kept; by default the budget."""
    lowest: bool = False
    """Keep the lowest scores instead of the highest."""

    needs: ClassVar[tuple[Statistic, ...]] = ()
    may_starve: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise SamplingError(f"keep must be above 0 and at most 1; got {self.keep}")

    def build(self, plan: Plan) -> SubsetSampler:
        """Return the sampler."""
        count = max(1, round((plan.budget if self.keep is None else self.keep) * plan.samples))
        order = permutation(plan.samples, make_key(plan.seed, "subset"))
        if self.scores is not None:
            scores = Scores.load(self.scores, plan.samples, plan.digest).scores[order]
            order = order[np.argsort(scores if self.lowest else -scores, kind="stable")]
        return announced(SubsetSampler(self, plan, np.sort(order[:count])))
