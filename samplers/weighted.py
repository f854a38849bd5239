"""Samplers that draw every round afresh by a weight a sample."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from samplers import counter, draw
from samplers.base import Draw, Heard, RoundSampler, Rows
from samplers.history import Table
from samplers.plan import Plan
from samplers.shuffle import permutation

T = TypeVar("T", bound=Table)


class WeightedPart(Protocol[T]):
    """Options of such a sampler: what it remembers of a sample and the weight it makes of that."""

    @property
    def hears(self) -> Heard:
        """What of the feedback goes into the table."""

    def table(self, samples: int) -> T:
        """Make the empty per-sample table."""

    def importance(self, table: T, number: int) -> NDArray[np.float32] | None:
        """Return the weights of round ``number``, float32[N], unnormalised; None means all equal."""


def draw_in_passes(
    weights: NDArray[np.float32] | None, samples: int, size: int, key: np.uint64
) -> NDArray[np.int64]:
    """Draw without replacement, and whole passes first where ``size`` exceeds the number of samples.

    When fewer weights are positive than asked for, the rest comes uniformly from those of weight 0, so that
    the budget is kept.
    """
    passes, rest = divmod(size, samples)
    parts = [permutation(samples, counter.derive(key, 2 + number)) for number in range(passes)]
    if rest:
        if weights is None:
            parts.append(permutation(samples, key)[:rest])
        else:
            parts.append(draw.without_replacement(weights, rest, key, fill=True))
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


class WeightedSampler(RoundSampler, Generic[T]):
    """Draws a round's ids without replacement by the importance that its part defines."""

    part: WeightedPart[T]

    def __init__(self, part: WeightedPart[T], plan: Plan) -> None:
        super().__init__(part, plan, (part.hears,))
        self.table = part.table(plan.samples)

    def fold(self, rows: Rows) -> None:
        """Fold rows into the table."""
        self.table.fold(rows["ids"], rows[self.part.hears], rows["share"])

    def memory(self) -> dict[str, NDArray[np.generic]]:
        """Return the table's columns."""
        return self.table.columns()

    def probabilities(self) -> NDArray[np.float64]:
        """Return P, float64[N]: how likely each sample is to be the first that the next round draws."""
        self.fold_heard()
        weights = self.part.importance(self.table, self.round)
        if weights is None or not weights.any():
            return np.full(self.plan.samples, 1 / self.plan.samples)
        probabilities: NDArray[np.float64] = weights / weights.sum(dtype=np.float64)
        return probabilities

    def draw(self, size: int) -> Draw:
        """Draw by the part's importance."""
        weights = self.part.importance(self.table, self.round)
        return Draw(draw_in_passes(weights, self.plan.samples, size, self.key("order")))
