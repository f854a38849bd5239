"""Samplers that draw each round independently by one weight per sample."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from samplers.draws import draw
from samplers.draws.arrays import Floats, Ids, Weights
from samplers.draws.shuffle import in_passes
from samplers.families.history import Table
from samplers.families.rounds import FeedbackBuffer, RoundDraft, RoundSampler, Statistic
from samplers.families.sweeps import rest_of_sweep, stream
from samplers.plan import Plan

T = TypeVar("T", bound=Table)


class WeightedConfig(Protocol[T]):
    """Config of such a sampler: its per-sample statistics, and the weights computed from them."""

    @property
    def needs(self) -> tuple[Statistic, ...]:
        """The feedback column that is folded into the table: exactly one."""

    def table(self, samples: int) -> T:
        """Return an empty table of per-sample statistics."""

    def importance(self, table: T, number: int) -> Weights | None:
        """Return the weights of round ``number``, [N], unnormalized; None means all equal."""


def draw_in_passes(weights: Weights | None, samples: int, size: int, key: np.uint64) -> Ids:
    """Draw without replacement, after whole passes where ``size`` exceeds the number of samples.

    If fewer weights are positive than needed, the rest is drawn uniformly from samples of weight 0, so that
    the budget is kept.
    """
    rest = size % samples
    if weights is None or not rest:
        return in_passes(samples, size, key)
    drawn = draw.without_replacement(weights, rest, key, fill=True)
    return np.concatenate([in_passes(samples, size - rest, key), drawn])


def burn_in_rounds(plan: Plan, epochs: float) -> int:
    """Return the number of rounds in the first ``epochs`` passes over the set, at most half of the run."""
    return plan.rounds_within(min(int(np.ceil(epochs * plan.samples)), plan.total // 2))


def burn_in_notes(plan: Plan, epochs: float) -> tuple[str, ...]:
    """Return a note if `burn_in_rounds` is limited to half of the run."""
    half = plan.total // 2
    if int(np.ceil(epochs * plan.samples)) <= half:
        return ()
    return (
        f"at most half of a run is scanned before weights are used: {half / plan.samples:.3g} epochs instead "
        f"of {epochs:g}",
    )


def full_round_notes(plan: Plan) -> tuple[str, ...]:
    """Return a note if rounds without replacement are so long that weights have little or no effect."""
    size = plan.largest if plan.oscillation else plan.total / plan.rounds
    if size < plan.samples:
        return ()
    passes, rest = divmod(round(size), plan.samples)
    effect = f"only {rest:,} of them by weight" if rest else "weights have no effect"
    return (
        f"a round of {round(size):,} samples drawn without replacement from {plan.samples:,} takes each "
        f"{'once' if passes == 1 else f'{passes} times'}, {effect}: lower the budget, or choose a "
        "sampler that draws with replacement",
    )


def normalized(weights: Weights | None, samples: int) -> NDArray[np.float64]:
    """Return weights as probabilities, float64[N]; equal ones if there are no weights, or all are 0."""
    if weights is None or not weights.any():
        return np.full(samples, 1 / samples)
    scaled = weights / np.float64(weights.max())
    chances: NDArray[np.float64] = scaled / scaled.sum()
    return chances


class WeightedSampler(RoundSampler, Generic[T]):
    """Draws a round's ids by the importance that its config defines.

    Without replacement a round takes every sample once before it takes any twice: the closer its size is to
    N, the less the weights matter, and from N on they have no effect (see `notes`).

    Parameters
    ----------
    part, plan
        The config and the budget.
    replacement
        Draw ids independently, instead of each at most once per round.
    burn_in
        Initial epochs that scan the set, at most half of the run.
    """

    part: WeightedConfig[T]

    def __init__(
        self, part: WeightedConfig[T], plan: Plan, *, replacement: bool = False, burn_in: float = 0
    ) -> None:
        super().__init__(part, plan)
        self.table = part.table(plan.samples)
        self.replacement = replacement
        self.burn_in = burn_in_rounds(plan, burn_in)
        self._asked_burn_in = burn_in

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds notes where the weights have no effect, and where the burn-in is cut."""
        lines = super().notes + burn_in_notes(self.plan, self._asked_burn_in)
        if not self.replacement:
            lines += full_round_notes(self.plan)
        return lines

    def fold(self, rows: FeedbackBuffer) -> None:
        """Fold rows into the table."""
        self.table.fold(rows["ids"], rows[self.needs[0]], rows["coefficient"])

    def memory(self) -> dict[str, Floats]:
        """Return the table's columns."""
        return self.table.columns()

    def probabilities(self) -> NDArray[np.float64]:
        """Return P, float64[N]: each sample's probability of being the first draw of the next round."""
        self.fold_buffered()
        if self.round < self.burn_in:
            return rest_of_sweep(self.plan.samples, self.plan.seed, self.plan.before(self.round))
        return normalized(self.part.importance(self.table, self.round), self.plan.samples)

    def draw(self, size: int) -> RoundDraft:
        """Scan during the burn-in, then draw by the config's importance."""
        plan = self.plan
        if self.round < self.burn_in:
            start = plan.before(self.round)
            return RoundDraft(stream(plan.samples, plan.seed, start, start + size))
        weights = self.part.importance(self.table, self.round)
        if self.replacement and weights is not None and weights.any():
            return RoundDraft(draw.with_replacement(weights, size, self.key("order")))
        if self.replacement:
            return RoundDraft(
                draw.with_replacement(np.ones(plan.samples, np.float32), size, self.key("order"))
            )
        return RoundDraft(draw_in_passes(weights, plan.samples, size, self.key("order")))
