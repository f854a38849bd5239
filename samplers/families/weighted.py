"""Samplers that draw every round afresh by a weight a sample."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from samplers.draws import counter, draw
from samplers.draws.arrays import Floats, Ids, Weights
from samplers.draws.shuffle import permutation
from samplers.families.history import Table
from samplers.families.rounds import Draw, Heard, RoundSampler, Rows
from samplers.families.sweeps import rest_of_pass, stream
from samplers.plan import Plan

T = TypeVar("T", bound=Table)


class WeightedPart(Protocol[T]):
    """Options of such a sampler: what it remembers of a sample and the weight it makes of that."""

    @property
    def hears(self) -> tuple[Heard, ...]:
        """The statistic of the feedback that goes into the table, one alone."""

    def table(self, samples: int) -> T:
        """Make the empty per-sample table."""

    def importance(self, table: T, number: int) -> Weights | None:
        """Return the weights of round ``number``, [N], unnormalised; None means all equal."""


def draw_in_passes(weights: Weights | None, samples: int, size: int, key: np.uint64) -> Ids:
    """Draw without replacement, and whole passes first where ``size`` exceeds the number of samples.

    When fewer weights are positive than asked for, the rest comes uniformly from those of weight 0, so that
    the budget is kept.
    """
    passes, rest = divmod(size, samples)
    parts = [permutation(samples, counter.derive(key, 3 + number)) for number in range(passes)]
    if rest and weights is None:
        parts.append(permutation(samples, key)[:rest])
    elif rest and weights is not None:
        parts.append(draw.without_replacement(weights, rest, key, fill=True))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def burn_in_rounds(plan: Plan, epochs: float) -> int:
    """Rounds that the first ``epochs`` passes over the set take, at most half of the run."""
    samples = min(int(np.ceil(epochs * plan.samples)), plan.total // 2)
    return -(-samples * plan.rounds // plan.total) if samples else 0


def burn_in_notes(plan: Plan, epochs: float) -> tuple[str, ...]:
    """Say where `burn_in_rounds` takes less than it is asked for."""
    half = plan.total // 2
    if int(np.ceil(epochs * plan.samples)) <= half:
        return ()
    return (
        f"at most half of a run is scanned before weights are used: {half / plan.samples:.3g} epochs of it, "
        f"where {epochs:g} are asked for",
    )


def full_round_notes(plan: Plan) -> tuple[str, ...]:
    """Say where rounds drawn without replacement are so long that weights decide nothing, or little."""
    size = plan.total / plan.rounds
    if size < plan.samples:
        return ()
    passes, rest = divmod(round(size), plan.samples)
    decides = f"only {rest:,} of them by weight" if rest else "weights decide nothing"
    return (
        f"a round of {round(size):,} samples drawn without replacement from {plan.samples:,} takes each "
        f"{'once' if passes == 1 else f'{passes} times'}, {decides}: lower the budget, or take a "
        "sampler that draws with replacement",
    )


def normalised(weights: Weights | None, samples: int) -> NDArray[np.float64]:
    """Weights as probabilities; equal ones where there are none, or all are 0."""
    if weights is None or not weights.any():
        return np.full(samples, 1 / samples)
    scaled = weights / np.float64(weights.max())
    chances: NDArray[np.float64] = scaled / scaled.sum()
    return chances


class WeightedSampler(RoundSampler, Generic[T]):
    """Draws a round's ids by the importance that its part defines.

    Without replacement a round takes every sample once before it takes any twice: the nearer its size comes
    to N, the less the weights decide, and from N on they decide nothing (`notes` tells so).

    Parameters
    ----------
    part, plan
        The options and the budget.
    replacement
        Draw each id independently, instead of every id at most once a round.
    burn_in
        Epochs scanned uniformly at first, at most half of the run.
    """

    part: WeightedPart[T]

    def __init__(
        self, part: WeightedPart[T], plan: Plan, *, replacement: bool = False, burn_in: float = 0
    ) -> None:
        super().__init__(part, plan)
        self.table = part.table(plan.samples)
        self.replacement = replacement
        self.burn_in = burn_in_rounds(plan, burn_in)
        self._asked_burn_in = burn_in

    @property
    def notes(self) -> tuple[str, ...]:
        """Also where the weights decide nothing, and where the burn-in is cut."""
        lines = super().notes + burn_in_notes(self.plan, self._asked_burn_in)
        if not self.replacement:
            lines += full_round_notes(self.plan)
        return lines

    def fold(self, rows: Rows) -> None:
        """Fold rows into the table."""
        self.table.fold(rows["ids"], rows[self.hears[0]], rows["share"])

    def memory(self) -> dict[str, Floats]:
        """Return the table's columns."""
        return self.table.columns()

    def probabilities(self) -> NDArray[np.float64]:
        """Return P, float64[N]: how likely each sample is to be the first that the next round draws."""
        self.fold_heard()
        if self.round < self.burn_in:
            return rest_of_pass(self.plan.samples, self.plan.seed, self.plan.before(self.round))
        return normalised(self.part.importance(self.table, self.round), self.plan.samples)

    def draw(self, size: int) -> Draw:
        """Scan during the burn-in, then draw by the part's importance."""
        plan = self.plan
        if self.round < self.burn_in:
            start = plan.before(self.round)
            return Draw(stream(plan.samples, plan.seed, start, start + size))
        weights = self.part.importance(self.table, self.round)
        if self.replacement and weights is not None and weights.any():
            return Draw(draw.with_replacement(weights, size, self.key("order")))
        if self.replacement:
            return Draw(draw.with_replacement(np.ones(plan.samples, np.float32), size, self.key("order")))
        return Draw(draw_in_passes(weights, plan.samples, size, self.key("order")))
