"""Protocols of schedules, and code shared by schedules."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from trainer.errors import RunError


class Schedule(Protocol):
    """A schedule of learning rate and momentum, evaluated before every optimizer step."""

    moves_momentum: ClassVar[bool]
    """Whether it has a momentum of its own; if not, `momentum` isn't called."""

    def factor(self, progress: float) -> float:
        """Return the multiplier of the base learning rate at ``progress`` in [0, 1].

        The loop calls it with `Account.schedule_progress`, so that the last step is made at progress 1, with
        the final rate.
        """

    def momentum(self, progress: float) -> float | None:
        """Return the momentum at ``progress``; None keeps the optimizer's own."""


class ScheduleConfig(Protocol):
    """Config of a schedule: a frozen dataclass of its options."""

    def bind(self, epochs: float) -> Schedule:
        """Return the schedule of a run that trains on ``epochs`` x N samples, N the size of the training set.

        Only a schedule with a phase of fixed length uses ``epochs``; others return themselves. It is infinite
        where the run's length isn't known, under ``--budget-hours``.

        Raises
        ------
        RunError
            If the phase of fixed length doesn't fit into the run, or the run's length isn't known.
        """


class ProportionalSchedule(ABC):
    """A schedule whose phases are fractions of the run; keeps the optimizer's momentum unless overridden."""

    moves_momentum: ClassVar[bool] = False

    @abstractmethod
    def factor(self, progress: float) -> float:
        """Return the multiplier of the base learning rate: see ``Schedule.factor``."""

    def momentum(self, progress: float) -> float | None:
        """Return the momentum: see ``Schedule.momentum``."""
        return None

    def bind(self, epochs: float) -> Schedule:
        """Return itself, as its shape doesn't depend on the run's length."""
        return self


def half_cosine(t: float) -> float:
    """Return half a cosine from 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (math.cos(math.pi * t) + 1)


def check_floor(option: str, factor: float) -> None:
    """Raise RunError unless a factor of the base rate is within [0, 1]."""
    if not 0 <= factor <= 1:
        raise RunError(f"schedule.{option} must be within [0, 1], a factor of the base rate; got {factor}")


def check_fraction(warmup: float) -> None:
    """Raise RunError unless a warm-up is within (0, 1), a fraction of the budget."""
    if not 0 < warmup < 1:
        raise RunError(f"schedule.warmup must be within (0, 1), a fraction of the budget; got {warmup}")
