"""subset: one fixed subset for the whole run (static pruning)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_at_least, check_choice
from samplers.draws.arrays import Ids
from samplers.draws.counter import make_key
from samplers.draws.shuffle import permutation
from samplers.errors import SamplingError
from samplers.families.rounds import RoundDraft, RoundSampler, Statistic, announced
from samplers.families.sweeps import rest_of_sweep, stream
from samplers.grouping.ccs import stratified
from samplers.grouping.dual import beta_sampled
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


@dataclass(frozen=True, repr=False)
class Subset:
    """A fixed subset for the whole run: random, or the highest (or lowest) scores of a file.

    Static pruning, as in figure 1 of Arazo et al. (2021): by default N * B samples are kept and each is
    trained on in all T epochs. With ``keep`` the kept fraction is set separately ("Sample importance in SGD
    training" keeps the highest EL2N: 0.7 on CIFAR-10, 0.9 on CIFAR-100), and passes over it continue until
    the budget is used up; a round that spans two of them may then hold a sample twice. Ties at the
    threshold are broken at random. Scores of EL2N, forgetting counts, TDDS, k-center and facility location
    come from a file that ``samplers.scores`` reads; their cost is not part of the plan.

    Two choices keep other samples than those of the highest scores: ``ccs`` covers the range of the scores
    and cuts off the hardest (`samplers.grouping.ccs.stratified`), and ``dual`` draws by difficulty,
    uncertainty and the fraction kept (`samplers.grouping.dual.beta_weights`). Both are random, by the
    run's seed.
    """

    scores: Path | None = None
    """A scores file; by default the subset is random."""
    keep: float | None = None
    """Fraction of the set that is kept; by default the budget."""
    lowest: bool = False
    """Keep the lowest scores instead of the highest; under ccs, the lowest are the hardest."""
    choice: Literal["rank", "ccs", "dual"] = "rank"
    """By rank, by strata of the scores (CCS), or by DUAL's sampling, which needs a file of metric dual."""
    cut: float = 0.0
    """Fraction of the set, its hardest samples, that ccs cuts off: 0.1 to 0.3 where little is kept."""
    strata: int = 50
    """Number of strata of ccs."""
    exponent: float = 4.0
    """How fast dual turns to easier samples as less is kept: 4 on CIFAR, 11 on ImageNet in its code."""

    needs: ClassVar[tuple[Statistic, ...]] = ()
    may_starve: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.keep is not None and not 0 < self.keep <= 1:
            raise SamplingError(f"keep must be above 0 and at most 1; got {self.keep}")
        check_choice("choice", self.choice, ("rank", "ccs", "dual"))
        if not 0 <= self.cut < 1:
            raise SamplingError(f"cut must be from 0 to below 1; got {self.cut}")
        check_at_least("strata", self.strata, 1)
        if not 0 < self.exponent < np.inf:
            raise SamplingError(f"exponent must be above 0 and finite; got {self.exponent}")
        for name, choice in _OWN.items():
            if self.choice != choice and getattr(self, name) != _USUAL[name]:
                raise SamplingError(
                    f"{name} is an option of choice {choice}; got {getattr(self, name)} with "
                    f"{self.choice}: set choice to {choice}, or leave it out"
                )
        if self.choice != "rank" and self.scores is None:
            raise SamplingError(
                f"choice {self.choice} must have scores to choose by; got none: make them with `trainer "
                f"score --metric {_METRICS[self.choice]}` and name the file by scores"
            )
        if self.choice == "dual" and self.lowest:
            raise SamplingError("lowest must be off for choice dual, which draws by its scores; got True")

    def __repr__(self) -> str:
        # Saved states have this text: what came later is left out where it has no part.
        shown = [
            item
            for item in fields(self)
            if item.name not in _USUAL or getattr(self, item.name) != item.default
        ]
        return f"Subset({', '.join(f'{item.name}={getattr(self, item.name)!r}' for item in shown)})"

    def build(self, plan: Plan) -> SubsetSampler:
        """Return the sampler.

        Raises
        ------
        SamplingError
            When the scores file can't be read or used.
        """
        count = max(1, round((plan.budget if self.keep is None else self.keep) * plan.samples))
        key = make_key(plan.seed, "subset")
        return announced(SubsetSampler(self, plan, self._choose(plan, count, key)))

    def _choose(self, plan: Plan, count: int, key: np.uint64) -> Ids:
        """Return the ids kept, ascending."""
        if self.scores is None:
            return np.sort(permutation(plan.samples, key)[:count])
        file = Scores.load(self.scores, plan.samples, plan.digest)
        scores = -file.scores if self.lowest else file.scores
        if self.choice == "ccs":
            return stratified(scores, count, key, cut=self.cut, strata=self.strata)
        if self.choice == "dual":
            if file.p_true is None:
                raise SamplingError(
                    f"choice dual needs a file with mean probabilities; {self.scores}, of {file.method}, has "
                    "none: make it with `trainer score --metric dual`"
                )
            return beta_sampled(scores, file.p_true, count, key, self.exponent)
        order = permutation(plan.samples, key)
        return np.sort(order[np.argsort(-scores[order], kind="stable")][:count])


_OWN = {"cut": "ccs", "strata": "ccs", "exponent": "dual"}
"""Options of one choice."""

_METRICS = {"ccs": "aum", "dual": "dual"}
"""Metrics of the scores that the choices were published with."""

_USUAL = {item.name: item.default for item in fields(Subset) if item.name in ("choice", *_OWN)}
