"""What is odd about a run, though it can be done: one line each."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.resolution import SuperProgressive
from trainer.config import Run
from trainer.schedules import FixedOneCycle


def notes(run: Run, full: int) -> tuple[str, ...]:
    """Return a line for everything about a run that is unlikely to be meant.

    Parameters
    ----------
    full
        Pixels of the shorter side at full resolution.
    """
    return tuple(_warm_ups(run, full))


def _warm_ups(run: Run, full: int) -> Iterator[str]:
    """Super-progressive resolution is full while the learning rate warms up: both should end in one round."""
    if not isinstance(run.resolution, SuperProgressive) or not isinstance(run.schedule, FixedOneCycle):
        return
    length = run.epochs * run.budget
    rate, pixels = run.schedule.warmup / length, run.resolution.warmup_share(full)
    if abs(rate - pixels) * length > run.budget * run.round_length * (1 + 1e-9):
        yield (
            f"images are at full resolution for {pixels:.1%} of the budget and the learning rate warms up "
            f"for {rate:.1%} of it: --schedule.warmup {pixels * length:.4g} or --resolution.warmup "
            f"{rate:.4g} makes them one"
        )
