"""c_sgd: samples that the model is unsure of come more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.base import Heard
from samplers.checks import check_choice, check_warmup
from samplers.history import Mean, fill_unseen
from samplers.plan import Plan
from samplers.weighted import WeightedSampler


@dataclass(frozen=True)
class CSGD:
    """Uncertain samples more often: P proportional to p (1 - p), p the smoothed mean error of p_sgd.

    000 §3 (after Chang et al. 2017): each round draws N * B samples without replacement with ::

        a_i = mean over the times seen of (1 - p_y)
        p_i = a_i + eps,    eps = (1 / N) sum_j a_j
        c_i = p_i (1 - p_i)
        P_i = c_i / sum_j c_j

    The paper adds eps before the product. Where p_i exceeds 1 that makes c_i negative: such a sample gets
    0, and is drawn only when fewer samples have a positive c than the round needs; when none has, the round
    is uniform. The released code adds the constant after the product, ``smoothing="after"``:
    c_i = a_i (1 - a_i) + (1 / N) sum_j a_j (1 - a_j).
    eps is the mean over the samples seen so far; those not seen yet get the largest c. The released code
    gives them the largest a before the product, which near a = 1 makes them the least important of all:
    not offered.
    """

    warmup_rounds: int = 0
    """Rounds drawn uniformly at first."""
    smoothing: Literal["inside", "after", "none"] = "inside"
    """Where the constant goes: inside p (the paper), after the product (its code), or nowhere."""

    hears: ClassVar[Heard] = "p_true"

    def __post_init__(self) -> None:
        check_warmup(self.warmup_rounds)
        check_choice("smoothing", self.smoothing, ("inside", "after", "none"))

    def build(self, plan: Plan) -> WeightedSampler[Mean]:
        """Make the sampler."""
        check_warmup(self.warmup_rounds, plan)
        return WeightedSampler(self, plan)

    def table(self, samples: int) -> Mean:
        """Make the table of each sample's mean p_y."""
        return Mean(samples)

    def importance(self, table: Mean, number: int) -> NDArray[np.float32] | None:
        """Return c."""
        if number < self.warmup_rounds:
            return None
        error = np.float32(1) - table.values
        if self.smoothing == "inside":
            seen = ~np.isnan(error)
            error += np.float32(error.mean(dtype=np.float64, where=seen)) if seen.any() else np.float32(0)
        certainty = fill_unseen(np.maximum(error * (1 - error), 0))
        if self.smoothing == "after":
            certainty += np.float32(certainty.mean(dtype=np.float64))
        return certainty
