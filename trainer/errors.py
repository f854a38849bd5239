"""Exceptions of a run, and the root of the project's: one line each."""

from __future__ import annotations

from pipeline.errors import DataError
from samplers.errors import SamplingError


class RunError(ValueError):
    """A mistake that the caller can correct: one line with the rule, the value and the remedy."""


class DivergedError(RunError):
    """The loss is no longer a finite number; the line names the step and the remaining files of the run."""


class InterruptedRunError(RunError):
    """The run was asked to stop (Ctrl-C, SIGTERM) and has written a checkpoint to resume from."""


class PeerError(RunError):
    """Another rank has ended, and so this one must."""


BudgetrainError = (DataError, SamplingError, RunError)
"""Every error that the project raises for a mistake that its user can correct.

A tuple and not a base class: `pipeline` and `samplers` import neither each other nor `trainer`, so that the
only class they have in common is ValueError.
"""
