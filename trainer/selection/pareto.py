"""How much selecting could save, if usefulness had a Pareto distribution: Kocyigit (2023), section 4.5."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainer.errors import RunError


@dataclass(frozen=True)
class Pareto:
    """A model of how a pool's usefulness is spread over its samples.

    Kocyigit (2023) eq. 4.5, ::

        F(x) = 1 - (x_min / x)^alpha

    The thesis gives this distribution and figure 4.5, but no formula of the speed-up. Here x is how many per
    cent of a pool are trained on, the most useful ones, and F(x) the fraction of the pool's use that they
    hold: with alpha 1.16 and x_min 5, a fifth of the samples holds four fifths. This is the reading in which
    x_min matters and a larger alpha helps, as the thesis says of its figure.

    Parameters
    ----------
    alpha
        Above 0. The larger, the more of the use is held by few samples.
    x_min
        Per cent, within (0, 100): so small a part of a pool is taken to hold nothing.
    """

    alpha: float = 1.16
    x_min: float = 6.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise RunError(f"alpha must be above 0 and finite; got {self.alpha:g}")
        if not 0 < self.x_min < 100:
            raise RunError(f"x_min must be above 0 and below 100 per cent; got {self.x_min:g}")

    def fraction(self, per_cent: float) -> float:
        """F(x): fraction of a pool's use that its best ``per_cent`` of samples hold; 0 up to x_min."""
        return 1 - (self.x_min / per_cent) ** self.alpha if per_cent > self.x_min else 0.0

    def speed_up(self, ratio: float, cost: float) -> float:
        """How much sooner the same use is gained than by training on everything.

        Training on a whole pool of ``ratio`` samples costs ``ratio``. Scoring all and training on one costs
        1 + ratio * cost and gains F(100 / ratio) of the use, so the speed-up is ::

            ratio * F(100 / ratio) / (1 + ratio * cost)

        Parameters
        ----------
        ratio
            Candidates scored for each trained sample, at least 1.
        cost
            Scoring a sample relative to training on one, at least 0.
        """
        return ratio * self.fraction(100 / ratio) / (1 + ratio * cost)

    def best_ratio(self, cost: float) -> float:
        """Return the ratio of the largest speed-up, at least 1.

        With k = x_min / 100 the slope of `speed_up` has the sign of ::

            1 - (alpha + 1) (k ratio)^alpha - alpha cost ratio (k ratio)^alpha

        which falls as the ratio grows, so its zero is found by halving intervals.
        """
        low, high = 0.0, 100 / self.x_min
        for _ in range(100):
            ratio = (low + high) / 2
            lost = (self.x_min / 100 * ratio) ** self.alpha
            if 1 - (self.alpha + 1) * lost - self.alpha * cost * ratio * lost > 0:
                low = ratio
            else:
                high = ratio
        return max(1.0, low)
