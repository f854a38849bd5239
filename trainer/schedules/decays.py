"""Schedules without cycles, which don't change momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from trainer.errors import RunError
from trainer.schedules.base import ProportionalSchedule, check_floor, check_fraction, half_cosine


@dataclass(frozen=True)
class Step(ProportionalSchedule):
    """Step-wise decay: a tenth of the rate from 1/3 of the budget, a hundredth from 2/3.

    SLR of Arazo et al. (2021), section 4.1; milestones and factors can be set for other papers' schedules.
    """

    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    """Points at which the rate falls, as increasing fractions of the budget."""

    gamma: float = 0.1
    """Multiplier of the rate at each milestone."""

    def __post_init__(self) -> None:
        inside = all(0 < m < 1 for m in self.milestones)
        if not inside or any(a >= b for a, b in pairwise(self.milestones)):
            raise RunError(
                "schedule.milestones must increase within (0, 1), fractions of the budget; got "
                f"{self.milestones}"
            )
        if not 0 < self.gamma <= 1:
            raise RunError(f"schedule.gamma must be above 0 and at most 1; got {self.gamma}")

    def factor(self, progress: float) -> float:
        """Return gamma to the power of the number of milestones reached."""
        return self.gamma ** sum(progress >= m for m in self.milestones)


@dataclass(frozen=True)
class Linear(ProportionalSchedule):
    """Linear decay at every iteration, to nearly 0 at the end of the budget.

    LLR of Arazo et al. (2021), section 4.1, after Li et al. (2020). The paper goes from .1 to 1e-6; ``final``
    is relative to the base rate, so that 1e-5 is the paper's final rate at the paper's base rate.
    """

    final: float = 1e-5
    """Factor at the last step, relative to the base rate: 1e-5 of a base rate of .1 is the paper's 1e-6."""

    def __post_init__(self) -> None:
        check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Return the factor, which falls linearly from 1 to final."""
        return (1 - progress) + progress * self.final


@dataclass(frozen=True)
class WarmupLinear(ProportionalSchedule):
    """Linear warm-up, then linear decay to the end of the budget.

    By default that of Jordan's airbench96 (2024), which begins at a fifth of the base rate.
    """

    warmup: float = 0.1
    """Fraction of the budget spent warming up."""

    first: float = 0.2
    """Factor at the first step, relative to the base rate."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate."""

    def __post_init__(self) -> None:
        check_fraction(self.warmup)
        check_floor("first", self.first)
        check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Return the factor, which rises linearly from first to 1, then falls linearly to final."""
        if progress < self.warmup:
            return self.first + (1 - self.first) * progress / self.warmup
        return self.final + (1 - self.final) * (1 - progress) / (1 - self.warmup)


@dataclass(frozen=True)
class Cosine(ProportionalSchedule):
    """Cosine decay over the whole budget.

    Kocyigit (2023) eq. 3.5.
    """

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0."""

    def __post_init__(self) -> None:
        check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Fall by half a cosine from 1 to final."""
        return self.final + (1 - self.final) * half_cosine(progress)


@dataclass(frozen=True)
class WarmupCosine(ProportionalSchedule):
    """Linear warm-up from 0, then cosine decay to the end of the budget.

    Kocyigit (2023) eq. 3.6.
    """

    warmup: float = 0.05
    """Fraction of the budget spent warming up: t_w / L of the equation."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0."""

    def __post_init__(self) -> None:
        check_fraction(self.warmup)
        check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Return the factor, which rises linearly from 0 to 1, then falls by half a cosine to final."""
        if progress < self.warmup:
            return progress / self.warmup
        return self.final + (1 - self.final) * half_cosine((progress - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class Rex(ProportionalSchedule):
    """REX: the rate stays high for a long time and falls fast at the end of the budget.

    (1 - t) / (1/2 + (1 - t)/2) at progress t (Chen et al. 2021).
    """

    def factor(self, progress: float) -> float:
        """Return the factor, which falls faster and faster from 1 to 0."""
        left = 1 - progress
        return left / (0.5 + 0.5 * left)


@dataclass(frozen=True)
class RangeTest(ProportionalSchedule):
    """Learning rate range test: the rate rises exponentially to the base rate, to find where the loss turns.

    Kocyigit (2023), appendix A.3, after Smith and Topin (2017): from 1e-3 to 1 in 200 steps, with
    ``--optimizer.lr 1``. The smallest useful rate is where the loss begins to fall, the largest where it
    begins to rise. ``--log-every 1`` writes both for every step to steps.jsonl.
    """

    first: float = 1e-3
    """Factor at the first step, relative to the base rate."""

    def __post_init__(self) -> None:
        if not 0 < self.first < 1:
            raise RunError(
                f"schedule.first must be within (0, 1), a factor of the base rate; got {self.first}"
            )

    def factor(self, progress: float) -> float:
        """Return the factor, which rises exponentially from first to 1."""
        return math.pow(self.first, 1 - progress)


@dataclass(frozen=True)
class Constant(ProportionalSchedule):
    """Constant base rate, without decay: for comparison only."""

    def factor(self, progress: float) -> float:
        """Return 1."""
        return 1.0
