"""What a schedule is, and what the schedules share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol

from trainer.errors import RunError


class Schedule(Protocol):
    """What the training loop asks before every optimizer step."""

    def factor(self, progress: float) -> float:
        """Multiplier of the base learning rate at ``progress`` in [0, 1].

        The loop calls it with `Account.schedule_progress`, so that the last step is taken at progress 1 and
        sees the floor.
        """

    def momentum(self, progress: float) -> float | None:
        """Momentum at ``progress``; None leaves the optimizer's own."""


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
    """A schedule whose phases are shares of the run; momentum is the optimizer's unless overridden."""

    @abstractmethod
    def factor(self, progress: float) -> float:
        """Multiplier of the base learning rate: see ``Schedule.factor``."""

    def momentum(self, progress: float) -> float | None:
        """Momentum: see ``Schedule.momentum``."""
        return None

    def bind(self, epochs: float) -> Schedule:
        """Give itself, as its shape is the same at every length."""
        return self


def half_cosine(t: float) -> float:
    """Half a cosine from 1 at t = 0 to 0 at t = 1."""
    return 0.5 * (math.cos(math.pi * t) + 1)


def check_floor(option: str, factor: float) -> None:
    """Refuse what is no factor of the base rate."""
    if not 0 <= factor <= 1:
        raise RunError(f"schedule.{option} must be within [0, 1], a factor of the base rate; got {factor}")


def check_share(warmup: float) -> None:
    """Refuse a warm-up that is no share of the budget."""
    if not 0 < warmup < 1:
        raise RunError(f"schedule.warmup must be within (0, 1), a share of the budget; got {warmup}")
