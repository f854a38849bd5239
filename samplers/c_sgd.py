"""c_sgd: samples that the model is unsure of come more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from samplers.checks import check_choice, check_warmup
from samplers.families.history import Mean, fill_unseen
from samplers.families.rounds import Heard, announced
from samplers.families.weighted import WeightedSampler
from samplers.plan import Plan


class CSGDSampler(WeightedSampler[Mean]):
    """Draws by c."""

    part: CSGD

    @property
    def notes(self) -> tuple[str, ...]:
        """Also that the literal smoothing starves samples."""
        if self.part.smoothing != "inside":
            return super().notes
        return (
            *super().notes,
            "smoothing inside the product hardly draws again what the network gets wrong: smooth after it, "
            "unless this is the comparison",
        )


@dataclass(frozen=True)
class CSGD:
    """Uncertain samples more often: P proportional to a (1 - a), a the mean error of p_sgd, smoothed.

    Arazo et al. (2021), section 3 (after Chang et al. 2017): each round draws N * B samples without
    replacement with ::

        a_i = mean over the times seen of (1 - p_y)
        c_i = a_i (1 - a_i) + eps,    eps = (1 / N) sum_j a_j (1 - a_j)
        P_i = c_i / sum_j c_j

    eps is the paper's "mean per sample importance", the importance being a (1 - a) here: so its released
    code smooths, which made its tables. Read to the letter the paper has the constant of p_sgd inside the
    product, ``smoothing="inside"``: c_i = p_i (1 - p_i) with p_i = a_i + (1 / N) sum_j a_j. Beware: where
    p_i exceeds 1, which is where the network is wrong more than on average, c_i is negative and cut to 0.
    Such a sample is drawn only when fewer samples have a positive c than the round needs, so it is hardly
    seen again (6 points lost on Fashion-MNIST at B = 0.3); when none has, the round is uniform.

    Samples not seen yet get the largest product, and eps counts them so (inside, the mean is over the
    samples seen). The released code gives them the largest a before the product, which near a = 1 makes them
    the least important of all: not offered. As in p_sgd the weights decide ever less as B nears 1, and
    nothing at 1.
    """

    warmup_rounds: int = 0
    """Rounds drawn uniformly at first."""
    smoothing: Literal["after", "inside", "none"] = "after"
    """Where the constant goes: after the product, inside it (which starves wrong samples), or nowhere."""
    relative: bool = False
    """Under mixing, measure an error against the share that the sample has in its image, as in p_sgd."""

    hears: ClassVar[tuple[Heard, ...]] = ("p_true",)

    def __post_init__(self) -> None:
        check_warmup(self.warmup_rounds)
        check_choice("smoothing", self.smoothing, ("after", "inside", "none"))

    def build(self, plan: Plan) -> CSGDSampler:
        """Make the sampler."""
        check_warmup(self.warmup_rounds, plan)
        return announced(CSGDSampler(self, plan))

    def table(self, samples: int) -> Mean:
        """Make the table of each sample's mean p_y."""
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
