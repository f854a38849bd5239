"""p_sgd: samples that the model gets wrong come more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_warmup
from samplers.families.history import Mean, Recent, fill_unseen
from samplers.families.rounds import Heard, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


def mean_error(table: Mean | Recent) -> NDArray[np.float32]:
    """Return a, float32[N]: 1 minus the tabled p_y, and the maximum for samples not seen yet."""
    return fill_unseen(np.float32(1) - table.values)


@dataclass(frozen=True)
class PSGD:
    """Difficult samples more often: P proportional to the mean error 1 - p_y, smoothed by its mean.

    Arazo et al. (2021), eq. 2 and 3 (after Chang et al. 2017): each round draws N * B samples without
    replacement with ::

        a_i = mean over the times seen of (1 - p_y)
        p_i = a_i + eps,    eps = (1 / N) sum_j a_j
        P_i = p_i / sum_j p_j

    Eq. 2 averages over all epochs up to t; a sample has a prediction only for rounds that it was drawn in,
    so the mean is over those, weighted by the sample's share of the image where images are mixed. Samples
    not seen yet get the largest a. While nothing has been seen, and during the warm-up, draws are uniform.
    The released code counts a mixed image's error for one of its samples only, and against the label of
    another.

    Without replacement the weights decide ever less as B nears 1, and at 1 nothing: a round of N samples
    takes each once, as scan does. The paper draws at B < 1 only.

    Under mixing the equation measures shares more than difficulty: a network that knows all samples predicts
    a sample of share s with p_y = s, an error of 1 - s, which is the same for every sample on average.
    ``relative`` takes max(0, s - p_y) / s for the error instead: 1 - p_y of a plain image, and 0 for a sample
    that is recognised to its share, whatever that is. It is not the paper's.
    """

    warmup_rounds: int = 0
    """Rounds drawn uniformly at first (70 of 200 in table 1 of the paper, none with a budget)."""
    smoothing: bool = True
    """Add eps; without, samples that are always right are never drawn again (figure 1 of the paper)."""
    average: bool = True
    """Average the error over all times seen; False takes the last prediction only (figure 1)."""
    relative: bool = False
    """Under mixing, measure an error against the share that the sample has in its image."""

    hears: ClassVar[tuple[Heard, ...]] = ("p_true",)

    def __post_init__(self) -> None:
        check_warmup(self.warmup_rounds)

    def build(self, plan: Plan) -> WeightedSampler[Mean | Recent]:
        """Make the sampler."""
        check_warmup(self.warmup_rounds, plan)
        return announced(WeightedSampler(self, plan))

    def table(self, samples: int) -> Mean | Recent:
        """Make the table of each sample's p_y: the mean, or the last."""
        table = Mean if self.average else Recent
        return table(samples, relative=self.relative)

    def importance(self, table: Mean | Recent, number: int) -> NDArray[np.float32] | None:
        """Return p of eq. 2."""
        if number < self.warmup_rounds:
            return None
        error = mean_error(table)
        return error + np.float32(error.mean(dtype=np.float64)) if self.smoothing else error
