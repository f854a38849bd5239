"""gradient_norm: samples large gradients more often, weighted so that the mean gradient is unbiased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pipeline import Batch
from trainer.errors import RunError
from trainer.methods import Losses, Offer
from trainer.selection.helpers.base import BaseSelection, Scored, errors, scored_losses
from trainer.selection.helpers.checks import check_at_least
from trainer.selection.helpers.draws import weighted_with_replacement
from trainer.selection.protocol import Candidates, Choice, Setting


@dataclass(frozen=True)
class GradientNorm(Scored):
    """Drawn with replacement by the last layer's gradient norm, with inverse probability weights.

    Katharopoulos and Fleuret (2018). The norm of the loss's gradient at the last layer's pre-activations,
    ||softmax - y||, bounds that of the whole gradient up to a factor. Of b' = ratio * b candidates b are
    drawn with replacement by ::

        P_i = ||softmax_i - y_i|| / sum_j ||softmax_j - y_j||,    weight_i = 1 / (b' P_i)

    so that the weighted mean gradient has the expectation of the pool's mean. It is on only while this pays:
    at every step, selected or not, a moving average is updated with how much larger a uniform batch would
    have to be for the same variance, ::

        tau = [1 - ||P - u||^2 / ||P||^2]^(-1/2) = sqrt(n sum_i P_i^2)

    for u uniform over the n samples at hand, and selection is on while it is above (b' + 3b) / (3b): scoring
    costs b' forward passes, a step 3b. Under mixing a step without selection counts each sample's mean norm
    over the images that show it. The decision is read from the device every ``check_every`` steps.
    """

    ratio: float = 3.0
    """Candidates loaded per trained sample: the presample."""

    threshold: float | None = None
    """tau above which selection is on; None means (ratio + 3) / 3, from which it pays. 0: always."""

    smoothing: float = 0.9
    """Weight of the past in tau's moving average, from 0 to below 1."""

    check_every: int = 20
    """Steps between two readings of tau, each of which waits for the device."""

    needs: ClassVar[tuple[Offer, ...]] = ("error",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("ratio", self.ratio, 1)
        if self.threshold is not None:
            check_at_least("threshold", self.threshold, 0)
        if not 0 <= self.smoothing < 1:
            raise RunError(f"selection.smoothing must be at least 0 and below 1; got {self.smoothing:g}")
        if self.check_every < 1:
            raise RunError(f"selection.check_every must be at least 1 step; got {self.check_every}")

    @property
    def bar(self) -> float:
        """Value of tau above which selection pays."""
        return (self.ratio + 3) / 3 if self.threshold is None else self.threshold

    @property
    def syncs(self) -> bool:
        """True: `observe` waits for the device every ``check_every`` steps."""
        return True

    def build(self, setting: Setting) -> GradientNormSelection:
        """Make the selection."""
        return GradientNormSelection(self, setting)


class GradientNormSelection(BaseSelection):
    """Keeps tau on the device, and its last reading on the host."""

    part: GradientNorm

    def __init__(self, part: GradientNorm, setting: Setting) -> None:
        super().__init__(part, setting)
        self._tau = torch.zeros((), dtype=torch.float64, device=setting.device)
        self._read = 0.0
        self._steps = 0

    def on(self, step: int, progress: float) -> bool:
        """Follow the schedule, while the last reading of tau is above the threshold."""
        pays = self._read > self.part.bar or self.part.bar == 0
        return pays and super().on(step, progress)

    def choose(self, candidates: Candidates) -> Choice:
        """Draw with replacement by norm."""
        norms = errors(scored_losses(candidates))[:, 0].double()
        self._take_in(norms)
        n = len(norms)
        total = norms.sum()
        # If every sample is predicted perfectly, draw uniformly.
        chances = torch.where(total > 0, norms / total, 1 / max(1, n))
        indices = weighted_with_replacement(chances, candidates.uniforms[: self.count(candidates), 0])
        return Choice(indices, (1 / (n * chances[indices])).float())

    def observe(self, losses: Losses, batch: Batch, choice: Choice | None) -> None:
        """Update tau from an unselected batch's norms, and read it when due."""
        if choice is None:
            self._take_in(batch.per_sample(errors(losses)).double())
        self._steps += 1
        if self._steps % self.part.check_every == 0:
            world = self.setting.world
            self._read = world.sum(self._tau.clone()).item() / world.size

    def _take_in(self, norms: Tensor) -> None:
        if len(norms) == 0:
            return
        tau = norms.square().mean().sqrt() / norms.mean()
        # 0 / 0: norms that are all 0 are uniform.
        self._tau.lerp_(torch.where(norms.mean() > 0, tau, 1), 1 - self.part.smoothing)

    def state_dict(self) -> dict[str, Any]:
        """Return tau, its last reading and the number of observed steps."""
        return {"tau": self._tau.clone(), "read": self._read, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._tau.copy_(state["tau"])
        self._read, self._steps = state["read"], state["steps"]
