"""Learning rate and momentum as functions of progress: a run at any budget sees the whole schedule.

Progress runs from 0 at the first optimiser step to 1 at the last one of *this* budget, so the floor is
reached exactly when the budget is spent. A schedule gives a factor of the base rate: where the papers write
epsilon_t, this is base rate x factor, epsilon_max being the base rate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from trainer.errors import RunError


class Schedule(Protocol):
    """What the training loop asks before every optimiser step."""

    def factor(self, progress: float) -> float:
        """Multiplier of the base learning rate at ``progress`` in [0, 1].

        The loop calls it with `Budget.schedule_progress`, so that the last step is taken at progress 1 and
        sees the floor.
        """

    def momentum(self, progress: float) -> float | None:
        """Momentum at ``progress``; None leaves the optimiser's own."""


class SchedulePart(Protocol):
    """A frozen dataclass of a schedule's options."""

    def bind(self, epochs: float) -> Schedule:
        """Give the schedule of a run that trains on ``epochs`` x N samples, N the size of the training set.

        Only a schedule with a phase of fixed length looks at ``epochs``; the others give themselves.

        Raises
        ------
        RunError
            When the phase of fixed length doesn't fit into the run.
        """


class ProportionalSchedule(ABC):
    """A schedule whose phases are shares of the run; momentum is the optimiser's unless overridden."""

    @abstractmethod
    def factor(self, progress: float) -> float:
        """Multiplier of the base learning rate: see ``Schedule.factor``."""

    def momentum(self, progress: float) -> float | None:
        """Momentum: see ``Schedule.momentum``."""
        return None

    def bind(self, epochs: float) -> Schedule:
        """Give itself, as its shape is the same at every length."""
        return self


@dataclass(frozen=True)
class Step(ProportionalSchedule):
    """Step-wise decay: a tenth of the rate from 1/3 of the budget, a hundredth from 2/3.

    SLR of Arazo et al. (2021), section 4.1; other milestones and factors serve other papers.
    """

    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    """Where the rate falls, as rising shares of the budget."""

    gamma: float = 0.1
    """What the rate is multiplied by at each milestone."""

    def __post_init__(self) -> None:
        inside = all(0 < m < 1 for m in self.milestones)
        if not inside or any(a >= b for a, b in pairwise(self.milestones)):
            raise RunError(
                f"schedule.milestones must rise within (0, 1), shares of the budget; got {self.milestones}"
            )
        if not 0 < self.gamma <= 1:
            raise RunError(f"schedule.gamma must be above 0 and at most 1; got {self.gamma}")

    def factor(self, progress: float) -> float:
        """Multiply by gamma once for each milestone reached."""
        return self.gamma ** sum(progress >= m for m in self.milestones)


@dataclass(frozen=True)
class Linear(ProportionalSchedule):
    """Linear decay at every iteration, to almost nothing at the end of the budget.

    LLR of Arazo et al. (2021), section 4.1, after Li et al. (2020). The paper goes from .1 to 1e-6; ``final``
    is relative to the base rate, so that 1e-5 is the paper's floor at the paper's base rate.
    """

    final: float = 1e-5
    """Factor at the last step, relative to the base rate: 1e-5 of a base rate of .1 is the paper's 1e-6."""

    def __post_init__(self) -> None:
        _check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Fall in a line from 1 to final."""
        return (1 - progress) + progress * self.final


@dataclass(frozen=True)
class Cosine(ProportionalSchedule):
    """Cosine decay over the whole budget.

    Kocyigit (2023) eq. 3.5.
    """

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0."""

    def __post_init__(self) -> None:
        _check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Fall by half a cosine from 1 to final."""
        return self.final + (1 - self.final) * _fall(progress)


@dataclass(frozen=True)
class WarmupCosine(ProportionalSchedule):
    """Linear warm-up from 0, then cosine decay to the end of the budget.

    Kocyigit (2023) eq. 3.6.
    """

    warmup: float = 0.05
    """Share of the budget spent warming up: t_w / L of the equation."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0."""

    def __post_init__(self) -> None:
        _check_share(self.warmup)
        _check_floor("final", self.final)

    def factor(self, progress: float) -> float:
        """Rise in a line from 0 to 1, then fall by half a cosine to final."""
        if progress < self.warmup:
            return progress / self.warmup
        return self.final + (1 - self.final) * _fall((progress - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class OneCycle(ProportionalSchedule):
    """One cycle: the rate rises, then falls, both as cosines, and momentum moves against it.

    Kocyigit (2023) eq. 3.7, after Smith and Topin (2017).
    """

    warmup: float = 0.3
    """Share of the budget in which the rate rises: rho of the equation."""

    initial: float = 0.0
    """Factor at the first step, relative to the base rate; the equation has 0, torch's OneCycleLR 1/25."""

    final: float = 0.0
    """Factor at the last step, relative to the base rate; the equation has 0, torch's OneCycleLR 4e-6."""

    low_momentum: float = 0.85
    """Momentum where the rate is highest: beta_l of the equation."""

    high_momentum: float = 0.95
    """Momentum where the rate is lowest: beta_h of the equation."""

    def __post_init__(self) -> None:
        _check_share(self.warmup)
        _check_cycle(self.initial, self.final, self.low_momentum, self.high_momentum)

    def factor(self, progress: float) -> float:
        """Rise by half a cosine from initial to 1, then fall by another to final."""
        if progress < self.warmup:
            return 1 - (1 - self.initial) * _fall(progress / self.warmup)
        return self.final + (1 - self.final) * _fall((progress - self.warmup) / (1 - self.warmup))

    def momentum(self, progress: float) -> float:
        """Fall by half a cosine from high to low momentum, then rise by another."""
        swing = self.high_momentum - self.low_momentum
        if progress < self.warmup:
            return self.low_momentum + swing * _fall(progress / self.warmup)
        return self.high_momentum - swing * _fall((progress - self.warmup) / (1 - self.warmup))


@dataclass(frozen=True)
class FixedOneCycle:
    """One cycle whose warm-up lasts a fixed number of epochs, however long the run.

    F1-CLR, Kocyigit (2023) eq. 3.8. There t and L are steps, as they are here in effect where the budget
    counts samples trained. Under ``--counts compute`` the warm-up is t_w epochs' worth of compute at full
    resolution: to reproduce that chapter count samples, and compare costs afterwards.
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
        """Give the one cycle in which t_w is the share warmup / epochs: see ``SchedulePart.bind``."""
        if self.warmup >= epochs:
            raise RunError(
                f"schedule.warmup must be shorter than the run, which trains for {epochs:g} epochs; "
                f"got {self.warmup:g}: shorten it, raise the budget, or take one_cycle"
            )
        return OneCycle(self.warmup / epochs, self.initial, self.final, self.low_momentum, self.high_momentum)


@dataclass(frozen=True)
class Rex(ProportionalSchedule):
    """REX: the rate stays high for long and falls fast at the end of the budget.

    (1 - t) / (1/2 + (1 - t)/2) at progress t (Chen et al. 2021).
    """

    def factor(self, progress: float) -> float:
        """Fall ever faster from 1 to 0."""
        left = 1 - progress
        return left / (0.5 + 0.5 * left)


@dataclass(frozen=True)
class RangeTest(ProportionalSchedule):
    """Learning rate range test: the rate rises exponentially to the base rate, to see where losses turn.

    Kocyigit (2023), appendix A.3, after Smith and Topin (2017): from 1e-3 to 1 in 200 steps, with ``--lr 1``.
    The least rate that is worth taking is where the loss begins to fall, the largest where it begins to rise.
    ``--log-every 1`` writes both for every step into steps.jsonl.
    """

    first: float = 1e-3
    """Factor at the first step, relative to the base rate."""

    def __post_init__(self) -> None:
        if not 0 < self.first < 1:
            raise RunError(
                f"schedule.first must be within (0, 1), a factor of the base rate; got {self.first}"
            )

    def factor(self, progress: float) -> float:
        """Rise by equal factors at equal distances from first to 1."""
        return math.pow(self.first, 1 - progress)


@dataclass(frozen=True)
class Constant(ProportionalSchedule):
    """The base rate throughout: no floor, for comparison only."""

    def factor(self, progress: float) -> float:
        """Stay at 1."""
        return 1.0


SCHEDULES: dict[str, type[SchedulePart]] = {
    "step": Step,
    "linear": Linear,
    "cosine": Cosine,
    "warmup_cosine": WarmupCosine,
    "one_cycle": OneCycle,
    "fixed_one_cycle": FixedOneCycle,
    "rex": Rex,
    "range_test": RangeTest,
    "constant": Constant,
}


def _fall(t: float) -> float:
    """Half a cosine from 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (math.cos(math.pi * t) + 1)


def _check_floor(option: str, factor: float) -> None:
    if not 0 <= factor <= 1:
        raise RunError(f"schedule.{option} must be within [0, 1], a factor of the base rate; got {factor}")


def _check_share(warmup: float) -> None:
    if not 0 < warmup < 1:
        raise RunError(f"schedule.warmup must be within (0, 1), a share of the budget; got {warmup}")


def _check_cycle(initial: float, final: float, low: float, high: float) -> None:
    _check_floor("initial", initial)
    _check_floor("final", final)
    if not 0 <= low <= high < 1:
        raise RunError(
            f"schedule.low_momentum and high_momentum must rise within [0, 1); got {low} and {high}"
        )
