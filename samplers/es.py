"""es: evolved sampling, by weights from losses and their differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_within
from samplers.draws import draw
from samplers.draws.arrays import Doubles, Floats, Ids
from samplers.draws.groups import candidates_of, in_groups
from samplers.errors import SamplingError
from samplers.families.history import Evolved, fill_unseen
from samplers.families.rounds import FeedbackBuffer, RoundDraft, Statistic, announced
from samplers.families.sweeps import Sweep, SweepSampler
from samplers.plan import Plan


class ESSampler(SweepSampler):
    """Takes candidates from a stream of sweeps, and draws each batch by weight from candidates of its own."""

    part: ES

    def __init__(self, part: ES, plan: Plan) -> None:
        super().__init__(part, plan)
        self._losses = Evolved(plan.samples, 1 - part.beta1, 1 - part.beta2, 1 / plan.samples)
        self._thinned = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds a note where nothing is chosen by weight."""
        if self.part.ratio > 1 or self.part.prune:
            return super().notes
        return (
            *super().notes,
            "a ratio of 1 without pruning chooses every sample of every sweep, so that weights have no "
            "effect: raise ratio or prune",
        )

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update scores and weights."""
        self._losses.fold(rows["ids"], rows["loss"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return scores and weights, the rest of the current sweep, and whether that leaves samples out."""
        return {**super().memory(), **self._losses.columns(), "thinned": np.array(self._thinned)}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays."""
        super().load_memory(saved)
        self._thinned = bool(saved["thinned"])
        for name, column in self._losses.columns().items():
            column[...] = saved[name]

    def weights(self) -> Floats:
        """Return w, float32[N]; the largest for samples without a loss."""
        filled: Floats = np.abs(fill_unseen(self._losses.weights))
        return filled

    def _anneals(self) -> bool:
        at, total = self.plan.before(self.round), self.total
        return at < self.part.anneal * total or at >= (1 - self.part.anneal) * total

    def compose(self, drawn: int) -> Sweep:
        """Take the whole set, or what the set level keeps of it."""
        samples = self.plan.samples
        self._thinned = self.part.prune > 0 and not self._anneals()
        if not self._thinned:
            return Sweep(np.arange(samples))
        count = max(1, round((1 - self.part.prune) * samples))
        kept = draw.without_replacement(self.weights(), count, self.key("kept", self.sweeps), fill=True)
        return Sweep(kept)

    def _candidates(self, count: int) -> Ids:
        if self._thinned and self._anneals():
            self._ids = self._ids[:0]  # the last part of the run is of all samples
        return super().draw(count).ids

    def _ahead(self, count: int) -> Ids:
        """Return the next candidates, which stay the next."""
        kept = {name: value.copy() for name, value in self.memory().items()}
        found = self._candidates(count)
        self.load_memory(kept)
        return found

    def probabilities(self) -> Doubles:
        """Return P, float64[N], of the next draw from the candidates at hand: by weight, or the first."""
        self.fold_buffered()
        ratio = 1.0 if self._anneals() else self.part.ratio
        count = round(min(self.plan.batch_size, self.size(self.round)) * ratio)
        found = self._ahead(1 if ratio == 1 else count)
        weights = self.weights()[found].astype(np.float64)
        if ratio == 1 or not weights.any():
            weights = np.ones(len(found))
        chances: Doubles = np.bincount(found, weights, self.plan.samples).astype(np.float64)
        chances /= chances.sum()
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Take the round's candidates, and draw by weight from those of each batch."""
        if self._anneals() or self.part.ratio == 1:
            return RoundDraft(self._candidates(size))
        group, ratio = self.plan.batch_size, self.part.ratio
        found = self._candidates(candidates_of(size, group, ratio))
        chosen = in_groups(self.weights()[found], size, group, ratio, self.key("order"))
        ids = found[chosen]
        return RoundDraft(ids, score_ids=np.setdiff1d(found, ids) if self.part.rescore else None)


@dataclass(frozen=True)
class ES:
    """Evolved sampling: each batch by weight from four times as many, by losses and their differences.

    Cheng, Li & Bian (2025). When a sample's loss is seen ::

        w_i <- beta1 * s_i + (1 - beta1) * loss_i
        s_i <- beta2 * s_i + (1 - beta2) * loss_i,    s_i = 1 / N at first

    so that for beta1 < beta2 the weight is a moving average of the losses plus one of their differences, of
    weight beta2 - beta1. Batch level: candidates are taken from sweeps over the set, ``ratio`` times as many
    as are trained on, and of those for a batch its samples are drawn by w without replacement. Set level (the
    paper's ESWP): each sweep is over a part 1 - ``prune`` of the set, drawn by w without replacement. The
    first and the last ``anneal`` of the run train on the whole set, in order of its sweeps.

    Of the paper only the abstract was at hand, which names losses, their differences and the two levels. The
    recurrences and the defaults are from memory of the text, and were not checked against it.

    Fitted to the plan: the paper's candidates are scored by a forward pass in the step that trains on some
    of them. Here weights are from the losses seen in training up to the round, at no cost; with ``rescore``
    the candidates that a round leaves out are scored at its end, so that the loss of every candidate is seen,
    as in the paper, though a round later. Samples without a loss have the largest weight. Sweeps follow one
    another until the budget is used up: candidates that span two of them may hold a sample twice. A mixed
    image's row counts by its coefficient.
    """

    beta1: float = 0.2
    """Part of the past losses in the weight."""
    beta2: float = 0.9
    """Part of the past losses in the moving average (0.8 with pruning in the paper)."""
    ratio: float = 4.0
    """Candidates per sample trained on (batch level); 1 trains on every sample of a sweep."""
    prune: float = 0.0
    """Fraction of the set that each sweep leaves out (set level); 0.2 in the paper's ESWP."""
    anneal: float = 0.05
    """Fraction of the run, at its beginning and again at its end, that trains on the whole set."""
    rescore: bool = False
    """Score the candidates left out, by forward passes at the round's end."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)

    def __post_init__(self) -> None:
        check_within("beta1", self.beta1, 0, 1)
        check_within("beta2", self.beta2, 0, 1)
        if not 1 <= self.ratio < np.inf:
            raise SamplingError(f"ratio must be at least 1 and finite; got {self.ratio}")
        if not 0 <= self.prune < 1:
            raise SamplingError(f"prune must be from 0 to below 1; got {self.prune}")
        check_within("anneal", self.anneal, 0, 0.5)

    @property
    def asks(self) -> Literal["forward"] | None:
        """Cost per scored sample: a forward pass, where those left out are scored."""
        return "forward" if self.rescore else None

    def build(self, plan: Plan) -> ESSampler:
        """Return the sampler."""
        return announced(ESSampler(self, plan))
