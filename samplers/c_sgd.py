"""c_sgd: draws uncertain samples more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_choice, check_warmup
from samplers.families.history import Mean, fill_unseen
from samplers.families.rounds import Statistic, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


class CSGDSampler(WeightedSampler[Mean]):
    """Draws samples with probability proportional to c."""

    part: CSGD

    @property
    def notes(self) -> tuple[str, ...]:
        """Adds a note where smoothing inside the product starves samples."""
        if self.part.smoothing != "inside":
            return super().notes
        return (
            *super().notes,
            "smoothing inside the product rarely draws misclassified samples again: smooth after it, unless "
            "this is the comparison",
        )


@dataclass(frozen=True)
class CSGD:
    """Uncertain samples more often: P proportional to a (1 - a), smoothed, with a the mean error of p_sgd.

    Arazo et al. (2021), section 3 (after Chang et al. 2017): each round draws N * B samples without
    replacement with ::

        a_i = mean over the times seen of (1 - p_y)
        c_i = a_i (1 - a_i) + eps,    eps = (1 / N) sum_j a_j (1 - a_j)
        P_i = c_i / sum_j c_j

    eps is the paper's "mean per sample importance", where the importance is a (1 - a); the released code,
    which produced the paper's tables, smooths this way. Taken literally, the paper puts the constant of p_sgd
    inside the product, ``smoothing="inside"``: c_i = p_i (1 - p_i) with p_i = a_i + (1 / N) sum_j a_j. Where
    p_i exceeds 1, that is, where the error is above average, c_i is then negative and clipped to 0.
    Such a sample is drawn only when fewer samples have a positive c than the round needs, so it is rarely
    seen again (6 points lost on Fashion-MNIST at B = 0.3); if no c is positive, the round is uniform.

    Samples not seen yet get the largest product, and enter eps with it (inside, the mean is over the
    samples seen). The released code assigns them the largest a before the product, which near a = 1 makes
    them the least important of all: not offered. As in p_sgd, the weights matter less as B approaches 1, and
    not at all at B = 1.
    """

    warmup_rounds: int = 0
    """Rounds drawn uniformly at first."""
    smoothing: Literal["after", "inside", "none"] = "after"
    """Where eps is added: after the product, inside it (starves misclassified samples), or nowhere."""
    relative: bool = False
    """Under mixing, measure the error relative to the sample's mixing coefficient, as in p_sgd."""

    needs: ClassVar[tuple[Statistic, ...]] = ("p_true",)

    def __post_init__(self) -> None:
        check_warmup(self.warmup_rounds)
        check_choice("smoothing", self.smoothing, ("after", "inside", "none"))

    def build(self, plan: Plan) -> CSGDSampler:
        """Return the sampler."""
        check_warmup(self.warmup_rounds, plan)
        return announced(CSGDSampler(self, plan))

    def table(self, samples: int) -> Mean:
        """Return an empty table of mean p_y per sample."""
        return Mean(samples, relative=self.relative)

    def importance(self, table: Mean, number: int) -> NDArray[np.float32] | None:
        """Return c."""
        if number < self.warmup_rounds:
            return None
        error = np.float32(1) - table.values
        if self.smoothing == "inside":
            seen = ~np.isnan(error)
            error += np.float32(error.mean(dtype=np.float64, where=seen)) if seen.any() else np.float32(0)
        doubt = fill_unseen(np.maximum(error * (1 - error), 0))
        if self.smoothing == "after":
            doubt += np.float32(doubt.mean(dtype=np.float64))
        return doubt
