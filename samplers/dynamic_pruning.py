"""ucb and epsilon_greedy: train on the highest scores, and now and then on others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_at_least, check_choice, check_within
from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.draws.shuffle import permutation, shuffled
from samplers.errors import SamplingError
from samplers.families.history import Tracked
from samplers.families.rounds import Draw, Heard, Hearing, RoundSampler, Rows, announced
from samplers.plan import Plan


class PruningSampler(RoundSampler):
    """Trains on a selection of N * B samples, renewed every ``period`` rounds."""

    def __init__(self, part: Hearing, plan: Plan, rate: float, period: int) -> None:
        super().__init__(part, plan)
        self._losses = Tracked(plan.samples, rate)
        self._period = period
        self._selected: Ids = np.empty(0, np.int64)

    @property
    def notes(self) -> tuple[str, ...]:
        """Also that nothing is pruned, where rounds are as long as the set."""
        size, samples = round(self.plan.total / self.plan.rounds), self.plan.samples
        if size < samples:
            return super().notes
        return (
            *super().notes,
            f"a round of {size:,} samples selects all of {samples:,}, so that scores decide nothing: lower "
            "the budget",
        )

    def fold(self, rows: Rows) -> None:
        """Follow the losses."""
        self._losses.fold(rows["ids"], rows["loss"], rows["share"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the followed losses and the selection."""
        return {**self._losses.columns(), "selected": self._selected}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Take them in; the selection may have any length."""
        self._selected = np.array(saved["selected"], np.int64)
        for name, column in self._losses.columns().items():
            column[...] = saved[name]

    @abstractmethod
    def scores(self) -> Floats:
        """Return what samples are selected by, float32[N]; the highest first."""

    def greedy(self, size: int) -> int:
        """Return how many of ``size`` samples are selected by score; the rest is random."""
        return size

    def _ranked(self) -> Ids:
        # Ranked in random order, so that equal scores are settled by chance.
        order = permutation(self.plan.samples, self.key("ties"))
        return order[np.argsort(-self.scores()[order], kind="stable")]

    def _select(self, size: int) -> Ids:
        ranked = self._ranked()
        best = self.greedy(size)
        return np.concatenate([ranked[:best], shuffled(ranked[best:], self.key("explore"))[: size - best]])

    def _renews(self) -> bool:
        return self.round % self._period == 0 or not len(self._selected)

    def _need(self) -> int:
        ahead = range(self.round, min(self.round + self._period, self.rounds))
        return min(max((self.size(number) for number in ahead), default=0), self.plan.samples)

    def probabilities(self) -> Doubles:
        """Return equal chances for those selected by score, and a share of the rest for all others."""
        self.fold_heard()
        chances = np.zeros(self.plan.samples)
        if self._renews():
            size = max(1, self._need())  # a round of none, or the run's end: as if one more were drawn
            ranked, best = self._ranked(), self.greedy(size)
            chances[ranked[:best]] = 1
            chances[ranked[best:]] = (size - best) / max(1, len(ranked) - best)
        else:
            chances[self._selected] = 1
        chances /= chances.sum()
        return chances

    def draw(self, size: int) -> Draw:
        """Shuffle the selection; whole passes over it where a round is longer than the set."""
        if self._renews():
            self._selected = self._select(self._need())
        passes = -(-size // len(self._selected)) if size else 0
        parts = [shuffled(self._selected, self.key("order", self.round * 2**20 + n)) for n in range(passes)]
        return Draw(np.concatenate([np.empty(0, np.int64), *parts])[:size])


class EpsilonGreedySampler(PruningSampler):
    """The highest moving-average losses, and a random part."""

    part: EpsilonGreedy

    def scores(self) -> Floats:
        """Return the moving average of the loss; samples not seen yet come first."""
        return np.nan_to_num(self._losses.recent, nan=np.inf)

    def greedy(self, size: int) -> int:
        """Return all but a part epsilon."""
        return size - round(self.part.epsilon * size)


class UCBSampler(PruningSampler):
    """The highest upper confidence bounds of the loss."""

    part: UCB

    def scores(self) -> Floats:
        """Return average and bonus; samples not seen yet come first."""
        losses = self._losses
        if self.part.bonus == "variance":
            bonus = losses.variance
        else:
            heard = np.where(losses.weight > 0, losses.weight, np.float32(1))
            bonus = np.sqrt(np.float32(np.log(self.round + 1)) / heard)
        return np.nan_to_num(losses.recent + np.float32(self.part.confidence) * bonus, nan=np.inf)


@dataclass(frozen=True)
class EpsilonGreedy:
    """The samples of highest moving-average loss, and a random tenth of the round from the others.

    Dynamic data pruning by a bandit (Raju, Daruwalla & Lipasti 2021): of the k samples that a round keeps,
    (1 - epsilon) k are those of the highest score and epsilon k are drawn uniformly from the rest, where ::

        score_i <- rate * loss_i + (1 - rate) * score_i

    Fitted to the plan: k = N * B, so that at B = 1 nothing is pruned. Scores come from training itself,
    without the scoring passes over the whole set that the method's public code makes, so those of samples
    left out stay as they were; samples not seen yet come first. Rows of mixed images move a score by their
    share.
    """

    epsilon: float = 0.1
    """Part of a round that is drawn at random."""
    rate: float = 0.8
    """Weight of the newest loss in the moving average."""
    period: int = 1
    """Rounds that a selection is kept for."""

    hears: ClassVar[tuple[Heard, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_within("epsilon", self.epsilon, 0, 1)
        _check_common(self.rate, self.period)

    def build(self, plan: Plan) -> EpsilonGreedySampler:
        """Make the sampler."""
        return announced(EpsilonGreedySampler(self, plan, self.rate, self.period))


@dataclass(frozen=True)
class UCB:
    """The samples of the highest upper confidence bound of the loss: hard ones, and those long not seen.

    Dynamic data pruning by a bandit (Raju, Daruwalla & Lipasti 2021): a round keeps the k samples of the
    highest score, ::

        score_i = m_i + c * sqrt(ln t / n_i),    m_i <- rate * loss_i + (1 - rate) * m_i

    t the number of the round and n_i how often sample i was seen: the bonus of samples left out grows until
    they come again. ``bonus="variance"`` takes the moving average of squared deviations from m_i in place of
    the root, as public code does; it doesn't grow, so samples may be left out for good.

    Fitted to the plan, and fed, as epsilon_greedy.
    """

    confidence: float = 1.0
    """c, the weight of the bonus."""
    bonus: Literal["count", "variance"] = "count"
    """What the bonus is made of: how seldom a sample was seen, or how much its loss varies."""
    rate: float = 0.8
    """Weight of the newest loss in the moving average."""
    period: int = 1
    """Rounds that a selection is kept for."""

    hears: ClassVar[tuple[Heard, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("confidence", self.confidence, 0)
        check_choice("bonus", self.bonus, ("count", "variance"))
        _check_common(self.rate, self.period)

    def build(self, plan: Plan) -> UCBSampler:
        """Make the sampler."""
        return announced(UCBSampler(self, plan, self.rate, self.period))


def _check_common(rate: float, period: int) -> None:
    if not 0 < rate <= 1:
        raise SamplingError(f"rate must be above 0 and at most 1; got {rate}")
    check_at_least("period", period, 1)
