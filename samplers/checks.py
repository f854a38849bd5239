"""Checks of options, shared by several samplers."""

from __future__ import annotations

import numpy as np

from samplers.draws.arrays import Ids
from samplers.errors import SamplingError
from samplers.plan import Plan


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise SamplingError if an option is below ``least`` or NaN."""
    if not value >= least:
        raise SamplingError(f"{name} must be at least {least}; got {value}")


def check_within(name: str, value: float, low: float, high: float) -> None:
    """Raise SamplingError if an option is outside [low, high] or NaN."""
    if not low <= value <= high:
        raise SamplingError(f"{name} must be from {low} to {high}; got {value}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise SamplingError if an option is not one of its choices."""
    if value not in choices:
        raise SamplingError(f"{name} must be one of {', '.join(choices)}; got {value}")


def class_labels(sampler: str, plan: Plan) -> Ids:
    """Return the class of each sample, int64[N]; raise SamplingError if the plan has none."""
    if plan.labels is None:
        raise SamplingError(
            f"{sampler} needs one class per sample, and this set has none: choose another sampler"
        )
    return plan.labels.astype(np.int64)


def check_warmup(warmup_rounds: int, plan: Plan | None = None) -> None:
    """Raise SamplingError if the warm-up is negative or takes every round of ``plan``."""
    check_at_least("warmup_rounds", warmup_rounds, 0)
    if plan is not None and warmup_rounds and warmup_rounds >= plan.rounds:
        raise SamplingError(
            f"warmup_rounds must be below the {plan.rounds} rounds of this run; got {warmup_rounds}: "
            "nothing would be drawn by importance"
        )
