"""One-cycle schedules: the learning rate rises and falls once, and momentum moves inversely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from trainer.errors import RunError
from trainer.schedules.base import ProportionalSchedule, check_floor, check_fraction, half_cosine


@dataclass(frozen=True)
class OneCycle(ProportionalSchedule):
    """One cycle: the rate rises, then falls, both as cosines, and momentum moves inversely.

    Kocyigit (2023) eq. 3.7, after Smith and Topin (2017).
    """

    warmup: float = 0.3
    """Fraction of the budget in which the rate rises: rho of the equation."""

    initial: float = 0.0
    """Factor at the first step, relative to the base rate; the equation has 0, torch's OneCycleLR 1/25."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0, torch's OneCycleLR 4e-6."""

    low_momentum: float = 0.85
    """Momentum where the rate is highest: beta_l of the equation."""

    high_momentum: float = 0.95
    """Momentum where the rate is lowest: beta_h of the equation."""

    moves_momentum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fraction(self.warmup)
        _check_cycle(self.initial, self.final, self.low_momentum, self.high_momentum)

    def factor(self, progress: float) -> float:
        """Rise by half a cosine from initial to 1, then fall by another to final."""
        if progress < self.warmup:
            return 1 - (1 - self.initial) * half_cosine(progress / self.warmup)
        return self.final + (1 - self.final) * half_cosine((progress - self.warmup) / (1 - self.warmup))

    def momentum(self, progress: float) -> float:
        """Fall by half a cosine from high to low momentum, then rise by another."""
        swing = self.high_momentum - self.low_momentum
        if progress < self.warmup:
            return self.low_momentum + swing * half_cosine(progress / self.warmup)
        return self.high_momentum - swing * half_cosine((progress - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class FixedOneCycle:
    """One cycle whose warm-up lasts a fixed number of epochs, however long the run.

    F1-CLR, Kocyigit (2023) eq. 3.8. There t and L are steps, which is equivalent if the budget counts trained
    samples. Under ``--counts compute`` the warm-up is the compute of t_w epochs at full resolution: to
    reproduce that chapter count samples, and compare costs afterwards.
    """

    warmup: float = 10.0
    """Length of the warm-up, t_w, in epochs of the whole training set; published: ImageNet 10, Imagenette
    80."""

    initial: float = 0.0
    """Factor at the first step, relative to the base rate; the equation has 0."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0."""

    low_momentum: float = 0.85
    """Momentum where the rate is highest: beta_l of the equation."""

    high_momentum: float = 0.95
    """Momentum where the rate is lowest: beta_h of the equation."""

    def __post_init__(self) -> None:
        if not self.warmup > 0:
            raise RunError(f"schedule.warmup must be above 0 epochs; got {self.warmup}")
        _check_cycle(self.initial, self.final, self.low_momentum, self.high_momentum)

    def bind(self, epochs: float) -> OneCycle:
        """Return the cycle in which t_w is the fraction warmup / epochs: see ``ScheduleConfig.bind``."""
        if math.isinf(epochs):
            raise RunError(
                f"schedule.warmup must be a fraction of the run where --budget-hours bounds it; got "
                f"{self.warmup:g} epochs: use --schedule one_cycle"
            )
        if self.warmup >= epochs:
            raise RunError(
                f"schedule.warmup must be shorter than the run, which trains for {epochs:g} epochs; "
                f"got {self.warmup:g}: shorten it, raise the budget, or use one_cycle"
            )
        return OneCycle(self.warmup / epochs, self.initial, self.final, self.low_momentum, self.high_momentum)


def _check_cycle(initial: float, final: float, low: float, high: float) -> None:
    check_floor("initial", initial)
    check_floor("final", final)
    if not 0 <= low <= high < 1:
        raise RunError(
            f"schedule.low_momentum and high_momentum must rise within [0, 1); got {low} and {high}"
        )
