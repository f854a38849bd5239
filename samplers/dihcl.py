"""dihcl: draws samples of high dynamic instance hardness more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from samplers.checks import check_at_least, check_choice
from samplers.draws.arrays import Doubles
from samplers.errors import SamplingError
from samplers.families.history import Change, Recent, fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan

_MOST = 10.0  # cap on a single change of the loss, as in the released code


@dataclass(frozen=True)
class DIHCL:
    """Dynamic instance hardness: P proportional to a softmax of the running average of the loss change.

    Zhou, Wang & Bilmes, NeurIPS 2020. The hardness of a sample is the exponential moving average of its
    instantaneous hardness, updated when it is trained on::

        u_i <- rate * a_i + (1 - rate) * u_i
        a_i = abs(loss - loss when last seen), at most 10;  or the loss itself
        P_i proportional to exp(tau * u_i / mean(u))

    and rounds are drawn without replacement by P: the weights matter less as B approaches 1, and not at all
    at B = 1. Warm epochs scan the set first. Samples without a hardness yet get the largest.

    Fitted to the plan: a round always holds N * B samples, where the paper's subset shrinks from all to 30%
    of the set. The released code sums a / (P * learning rate) instead of averaging, and multiplies tau by 0.8
    per episode. Its mixup splits the loss between the two samples, as the coefficients of feedback do here.
    """

    hardness: Literal["change", "loss"] = "change"
    """Instantaneous hardness: the absolute change of the loss, or the loss itself."""
    tau: float = 20.0
    """Inverse temperature: 0 is uniform."""
    rate: float = 0.1
    """Weight of the newest value in the moving average."""
    warm_epochs: float = 5
    """Initial epochs that scan the set; at most half of the run."""

    needs: ClassVar[tuple[Statistic, ...]] = ("loss",)
    may_starve: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("hardness", self.hardness, ("change", "loss"))
        check_at_least("tau", self.tau, 0)
        check_at_least("warm_epochs", self.warm_epochs, 0)
        if not 0 < self.rate <= 1:
            raise SamplingError(f"rate must be above 0 and at most 1; got {self.rate}")

    def build(self, plan: Plan) -> WeightedSampler[Change | Recent]:
        """Return the sampler."""
        return announced(WeightedSampler(self, plan, burn_in=self.warm_epochs))

    def table(self, samples: int) -> Change | Recent:
        """Return an empty table of hardness per sample."""
        return Change(samples, self.rate, _MOST) if self.hardness == "change" else Recent(samples, self.rate)

    def importance(self, table: Change | Recent, number: int) -> Doubles | None:
        """Return the unnormalized softmax; None (equal weights) while no hardness is known."""
        hardness = fill_unseen(table.values).astype(np.float64)
        mean = hardness.mean()
        if mean <= 0:
            return None
        weights: Doubles = np.exp(self.tau * (hardness - hardness.max()) / mean)
        return weights
