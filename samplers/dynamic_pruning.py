"""ucb and epsilon_greedy: bandits that train on the highest scores and explore the rest."""

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
from samplers.families.rounds import (
    FeedbackBuffer,
    FeedbackConfig,
    RoundDraft,
    RoundSampler,
    Statistic,
    announced,
)
from samplers.plan import Plan


class PruningSampler(RoundSampler):
    """Trains on a selection of N * B samples, renewed every ``period`` rounds."""

    def __init__(self, part: FeedbackConfig, plan: Plan, rate: float, period: int) -> None:
        super().__init__(part, plan)
        self._losses = Tracked(plan.samples, rate)
        self._period = period
        self._selected: Ids = np.empty(0, np.int64)

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds a note where rounds are as long as the set, so that nothing is pruned."""
        size, samples = round(self.plan.total / self.plan.rounds), self.plan.samples
        if size < samples:
            return super().notes
        return (
            *super().notes,
            f"a round of {size:,} samples selects all of {samples:,}, so that scores have no effect: lower "
            "the budget",
        )

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update the moving averages of the losses."""
        self._losses.fold(rows["ids"], rows["loss"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the loss table, and the selection."""
        return {**self._losses.columns(), "selected": self._selected}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays; the selection may have any length."""
        self._selected = np.array(saved["selected"], np.int64)
        for name, column in self._losses.columns().items():
            column[...] = saved[name]

    @abstractmethod
    def scores(self) -> Floats:
        """Return the scores that samples are selected by, float32[N], highest first."""

    def greedy(self, size: int) -> int:
        """Return the number of samples out of ``size`` that are selected by score; the rest is random."""
        return size

    def _ranked(self) -> Ids:
        # Stable sort of a random permutation: ties are broken at random.
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
        """Return equal probabilities for samples selected by score, and the exploration's for the rest."""
        self.fold_buffered()
        chances = np.zeros(self.plan.samples)
        if self._renews():
            size = max(1, self._need())  # an empty round, or the run's end: as if one more were drawn
            ranked, best = self._ranked(), self.greedy(size)
            chances[ranked[:best]] = 1
            chances[ranked[best:]] = (size - best) / max(1, len(ranked) - best)
        else:
            chances[self._selected] = 1
        chances /= chances.sum()
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Shuffle the selection; where a round is longer than the set, repeat whole passes over it."""
        if self._renews():
            self._selected = self._select(self._need())
        passes = -(-size // len(self._selected)) if size else 0
        parts = [shuffled(self._selected, self.key("order", self.round * 2**20 + n)) for n in range(passes)]
        return RoundDraft(np.concatenate([np.empty(0, np.int64), *parts])[:size])


class EpsilonGreedySampler(PruningSampler):
    """Selects the highest moving-average losses, and a random fraction."""

    part: EpsilonGreedy

    def scores(self) -> Floats:
        """Return the moving average of the loss; infinity for samples not seen yet."""
        return np.nan_to_num(self._losses.recent, nan=np.inf)

    def greedy(self, size: int) -> int:
        """Return ``size`` less a fraction epsilon."""
        return size - round(self.part.epsilon * size)


class UCBSampler(PruningSampler):
    """Selects the highest upper confidence bounds of the loss."""

    part: UCB

    def scores(self) -> Floats:
        """Return average plus bonus; infinity for samples not seen yet."""
        losses = self._losses
        if self.part.bonus == "variance":
            bonus = losses.variance
        else:
            count = np.where(losses.weight > 0, losses.weight, np.float32(1))
            bonus = np.sqrt(np.float32(np.log(self.round + 1)) / count)
        return np.nan_to_num(losses.recent + np.float32(self.part.confidence) * bonus, nan=np.inf)


@dataclass(frozen=True)
class EpsilonGreedy:
    """Samples of the highest moving-average loss, and a random tenth of each round from the others.

    Dynamic data pruning by a bandit (Raju, Daruwalla & Lipasti 2021): of the k samples that a round keeps,
    (1 - epsilon) k have the highest scores and epsilon k are drawn uniformly from the rest, where ::

        score_i <- rate * loss_i + (1 - rate) * score_i

    Fitted to the plan: k = N * B, so nothing is pruned at B = 1. Scores come from training itself, without
    the public code's scoring passes over the whole set, so the scores of samples left out don't change;
    samples not seen yet come first. The update of a mixed image's row is scaled by its coefficient.
    """

    epsilon: float = 0.1
    """Fraction of a round that is drawn at random."""
    rate: float = 0.8
    """Weight of the newest loss in the moving average."""
    period: int = 1
    """Rounds for which a selection is kept."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_within("epsilon", self.epsilon, 0, 1)
        _check_common(self.rate, self.period)

    def build(self, plan: Plan) -> EpsilonGreedySampler:
        """Return the sampler."""
        return announced(EpsilonGreedySampler(self, plan, self.rate, self.period))


@dataclass(frozen=True)
class UCB:
    """Samples of the highest upper confidence bound of the loss: hard ones, and those rarely seen.

    Dynamic data pruning by a bandit (Raju, Daruwalla & Lipasti 2021): a round keeps the k samples with the
    highest scores ::

        score_i = m_i + c * sqrt(ln t / n_i),    m_i <- rate * loss_i + (1 - rate) * m_i

    where t is the round's number and n_i the number of times that sample i was seen: the bonus of samples
    left out grows until they are selected again. ``bonus="variance"`` replaces the root by the moving average
    of squared deviations from m_i, as public code does; it doesn't grow, so samples may be left out for good.

    Fitted to the plan, and updated, as epsilon_greedy.
    """

    confidence: float = 1.0
    """c, the weight of the bonus."""
    bonus: Literal["count", "variance"] = "count"
    """Form of the bonus: by the times that a sample was seen, or by the variance of its loss."""
    rate: float = 0.8
    """Weight of the newest loss in the moving average."""
    period: int = 1
    """Rounds for which a selection is kept."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_at_least("confidence", self.confidence, 0)
        check_choice("bonus", self.bonus, ("count", "variance"))
        _check_common(self.rate, self.period)

    def build(self, plan: Plan) -> UCBSampler:
        """Return the sampler."""
        return announced(UCBSampler(self, plan, self.rate, self.period))


def _check_common(rate: float, period: int) -> None:
    if not 0 < rate <= 1:
        raise SamplingError(f"rate must be above 0 and at most 1; got {rate}")
    check_at_least("period", period, 1)
