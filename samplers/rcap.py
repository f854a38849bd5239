"""rcap: classes by their losses, and samples of high loss within them more often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_choice, class_labels
from samplers.draws import counter, draw
from samplers.draws.arrays import Doubles, Ids
from samplers.draws.shuffle import in_passes, shuffled
from samplers.errors import SamplingError
from samplers.families.history import Recent
from samplers.families.rounds import FeedbackBuffer, RoundDraft, RoundSampler, Statistic, announced
from samplers.families.weighted import full_round_notes
from samplers.plan import Plan

_LEAST = 1e-6  # nats: a class whose losses are all 0 is still drawn
_WHOLE = 1e-9  # a part that is less short of a whole number has lost it by rounding


def filled(wanted: Doubles, room: NDArray[np.int64], total: int) -> Doubles:
    """Return ``total`` divided in proportion to ``wanted``, no part above its ``room``, float64[C].

    Parts that would be are cut to their room, and the others get the rest in proportion.
    """
    parts = np.zeros(len(wanted))
    full = np.zeros(len(wanted), bool)
    while True:
        left = total - room[full].sum()
        parts = np.where(full, room, wanted * (left / max(wanted[~full].sum(), np.finfo(float).tiny)))
        over = ~full & (parts > room)
        if not over.any():
            return parts
        full |= over


def whole_parts(parts: Doubles, total: int, offset: float) -> NDArray[np.int64]:
    """Return ``parts`` rounded up or down, so that their sum is ``total``: systematic rounding.

    With ``offset`` uniform in [0, 1) the expectation of each is the part itself. Whole parts stay.
    """
    whole = np.floor(parts + _WHOLE)
    ends = np.cumsum(np.maximum(parts - whole, 0))
    missing = total - whole.sum()
    ends[ends >= ends[-1]] = missing  # but for rounding
    steps = np.minimum(np.floor(ends + offset), missing)
    counts: NDArray[np.int64] = (whole + np.diff(steps, prepend=0)).astype(np.int64)
    return counts


class RCAPSampler(RoundSampler):
    """Divides a round among classes, and draws by loss within each."""

    part: RCAP

    def __init__(self, part: RCAP, plan: Plan, labels: NDArray[np.int64]) -> None:
        super().__init__(part, plan)
        self._loss = Recent(plan.samples)
        self._labels = labels
        self._counts = np.bincount(labels)
        self._members = np.split(np.argsort(labels, kind="stable"), np.cumsum(self._counts)[:-1])
        self._drawn = np.ones(plan.samples, bool)
        classes = int((self._counts > 0).sum())
        self._clip = math.log(max(2, classes)) if part.clip is None else part.clip

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds a note where rounds are as long as the set, so that classes and losses decide nothing."""
        return super().notes + full_round_notes(self.plan)

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update each sample's last loss."""
        self._loss.fold(rows["ids"], rows["loss"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last losses, and which samples the last round held."""
        return {**self._loss.columns(), "drawn": self._drawn}

    def losses(self) -> Doubles:
        """Return the last losses, clipped, float64[N]; the largest for samples not seen yet."""
        return np.clip(np.nan_to_num(self._loss.values.astype(np.float64), nan=self._clip), 0, self._clip)

    def importance(self, losses: Doubles) -> Doubles:
        """Return each sample's probability within its class, float64[N]: the softmax of loss / beta."""
        top = np.zeros(len(self._counts))
        np.maximum.at(top, self._labels, losses)
        weights = np.exp((losses - top[self._labels]) / self.part.beta)
        within: Doubles = weights / np.bincount(self._labels, weights)[self._labels]
        return within

    def shares(self, losses: Doubles, importance: Doubles, size: int) -> Doubles:
        """Return the expected number of samples of each class in a round of ``size``, float64[C]."""
        if self.part.classes_by == "loss":
            loss: Doubles = np.bincount(self._labels, losses) / np.maximum(self._counts, 1)
        else:
            loss = np.bincount(self._labels, importance * self._drawn).astype(np.float64)
        wanted = np.sqrt(np.maximum(loss, _LEAST) * self._counts / self.plan.samples)
        return filled(wanted, self._counts, size)

    def probabilities(self) -> Doubles:
        """Return P, float64[N], of being the first draw of its class, times the class's part of the round."""
        self.fold_buffered()
        size = self.size(self.round)
        if size >= self.plan.samples:
            return np.full(self.plan.samples, 1 / self.plan.samples)
        losses = self.losses()
        importance = self.importance(losses)
        chances: Doubles = importance * self.shares(losses, importance, size)[self._labels] / size
        return chances

    def draw(self, size: int) -> RoundDraft:
        """Draw each class's number of samples; whole passes first where the round exceeds the set."""
        samples, key = self.plan.samples, self.key("order")
        rest = size % samples
        ids = [in_passes(samples, size - rest, key)] if size > rest else []
        if rest:
            losses = self.losses()
            importance = self.importance(losses)
            shares = self.shares(losses, importance, rest)
            counts = whole_parts(shares, rest, counter.uniform_at(key, 0))
            ids.append(shuffled(self._in_classes(importance, counts), counter.derive(key, 1)))
        joined = np.concatenate(ids)
        self._drawn = np.zeros(samples, bool)
        self._drawn[joined] = True
        return RoundDraft(joined)

    def _in_classes(self, importance: Doubles, counts: NDArray[np.int64]) -> Ids:
        key = self.key("class")
        found = []
        for label in np.flatnonzero(counts):
            members, own = self._members[label], counter.derive(key, int(label))
            chosen = draw.without_replacement(importance[members], int(counts[label]), own, fill=True)
            found.append(members[chosen])
        return np.concatenate(found)


@dataclass(frozen=True)
class RCAP:
    """Classes of high loss get more of a round, and their samples of high loss are drawn more often.

    Robust, class-aware, probabilistic dynamic pruning, RCAP (Hassan, Khare & Paik 2025). A round has ::

        m_c proportional to sqrt(f_c * L_c),    at most n_c
        P_i within the class proportional to exp(min(loss_i, clip) / beta), drawn without replacement

    of its m samples from class c, with n_c the class's size, f_c = n_c / N, and L_c its loss. Such m_c
    minimize sum_c f_c * L_c / m_c, so small classes get more than their part of the set, and so do those
    that are learned worst. Losses are those last seen in training; samples not seen yet have the loss clip.
    Needs the plan's labels.

    The paper's text was not at hand: this follows its abstract, which has a closed form of each class's
    fraction, by the class's aggregated loss, and the released code. There L_c is not a loss, but the
    part of the class's importance P_i that the samples of the last round have
    (``classes_by="importance"``); here it is by default the mean of the class's clipped losses. Counts are
    rounded at random to the round's exact size, where the code rounds all of them up, and what exceeds a
    class's size goes to the others in proportion, where the code gives each of those more than is left.
    """

    beta: float = 1.0
    """Temperature of the softmax: below 1 high losses are drawn still more often."""
    clip: float | None = None
    """Largest loss, in nats; None means log(classes), that of a uniform prediction."""
    classes_by: Literal["loss", "importance"] = "loss"
    """L_c: the class's mean loss, or the importance of its samples in the last round."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)
    reads_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.beta < np.inf:
            raise SamplingError(f"beta must be above 0 and finite; got {self.beta}")
        if self.clip is not None and not 0 < self.clip < np.inf:
            raise SamplingError(f"clip must be above 0 and finite; got {self.clip}")
        check_choice("classes_by", self.classes_by, ("loss", "importance"))

    def build(self, plan: Plan) -> RCAPSampler:
        """Return the sampler.

        Raises
        ------
        SamplingError
            When the plan has no labels.
        """
        return announced(RCAPSampler(self, plan, class_labels("rcap", plan)))
