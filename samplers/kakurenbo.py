"""kakurenbo: hides confidently learned samples, and scores them again in every sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_within
from samplers.draws.arrays import Ids
from samplers.errors import SamplingError
from samplers.families.history import Recent
from samplers.families.rounds import FeedbackBuffer, Statistic, announced
from samplers.families.sweeps import Sweep, SweepSampler
from samplers.plan import Plan

_STEPS = ((0.8, 0.4), (0.6, 0.6), (0.3, 0.8), (0.0, 1.0))


class KakurenboSampler(SweepSampler):
    """Passes that hide the easiest samples."""

    part: Kakurenbo

    def __init__(self, part: Kakurenbo, plan: Plan) -> None:
        super().__init__(part, plan)
        self._loss = Recent(plan.samples)
        self._p_true = Recent(plan.samples)

    def fold(self, rows: FeedbackBuffer) -> None:
        """Update each sample's last loss and confidence."""
        self._loss.fold(rows["ids"], rows["loss"], rows["coefficient"])
        self._p_true.fold(rows["ids"], rows["p_true"], rows["coefficient"])

    def memory(self) -> dict[str, NDArray[Any]]:
        """Return the last losses and confidences, and the current sweep."""
        return {**super().memory(), "loss": self._loss.values, "p_true": self._p_true.values}

    def load_memory(self, saved: dict[str, NDArray[Any]]) -> None:
        """Restore these arrays."""
        super().load_memory(saved)
        self._loss.values[...] = saved["loss"]
        self._p_true.values[...] = saved["p_true"]

    def _hide(self, drawn: int) -> Ids:
        progress = drawn / max(1, self.total)
        decay = next(factor for begin, factor in _STEPS if progress >= begin)
        most = int(self.part.fraction * decay * self.plan.samples)
        losses = self._loss.values
        # Samples never seen sort last and have no confidence: they are not hidden.
        order = self.some(np.arange(self.plan.samples), self.plan.samples)
        lowest = order[np.argsort(losses[order], kind="stable")[:most]]
        confidence = self._p_true.values[lowest]
        return np.sort(lowest[confidence >= self.part.confidence])

    def compose(self, drawn: int) -> Sweep:
        """Hide samples, and scale the learning rate of the others to compensate."""
        hidden = self._hide(drawn)
        samples = self.plan.samples
        shown = np.ones(samples, bool)
        shown[hidden] = False
        return Sweep(np.flatnonzero(shown), hidden=hidden, lr_scale=samples / (samples - len(hidden)))


@dataclass(frozen=True)
class Kakurenbo:
    """Skips low-loss, high-confidence samples in each sweep and raises the learning rate to compensate.

    Nguyen et al., NeurIPS 2023. Before each sweep, the fraction F_e of samples with the lowest last losses
    are candidates for hiding; misclassified ones, and those with a confidence below tau, are moved back. A
    sweep over the others runs at a learning rate of 1 / (1 - F*) times the schedule's, with F* the fraction
    actually hidden. Hidden samples are scored by forward passes when their sweep ends. F_e is F times 1, 0.8,
    0.6 and 0.4, from 0%, 30%, 60% and 80% of the run.

    A correctly classified sample of confidence c has p_true = c, and with tau of at least 0.5 p_true >= tau
    implies a correct prediction: so the test is p_true >= tau. The released code scales the learning rate by
    the maximum fraction F_e rather than the hidden one, and takes its confidence from a softmax over the
    batch instead of over the classes.

    Fitted to the plan: sweeps follow one another until the budget is used up, and rounds are taken from
    their stream: a round that spans two sweeps may hold a sample twice, where the released code has one sweep
    per epoch. The order whose round ends a sweep requests scores of its hidden samples by ``score_ids``, so
    that they are known before the next sweep is composed; an order that spans sweeps has the mean of their
    learning-rate factors.
    """

    fraction: float = 0.3
    """F, the fraction of the set that may be hidden initially."""
    confidence: float = 0.7
    """tau, the probability of the true class below which a sample is moved back."""

    asks: ClassVar[Literal["forward"]] = "forward"

    # Orders have an ``lr_scale`` other than 1.
    scales_lr: ClassVar[bool] = True

    needs: ClassVar[tuple[Statistic, ...]] = ("loss", "p_true")
    may_starve: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.fraction < 1:
            raise SamplingError(f"fraction must be from 0 to below 1; got {self.fraction}")
        check_within("confidence", self.confidence, 0.5, 1)

    def build(self, plan: Plan) -> KakurenboSampler:
        """Return the sampler."""
        return announced(KakurenboSampler(self, plan))
