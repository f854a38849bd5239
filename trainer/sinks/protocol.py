"""Protocol of sinks: the options that open one, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Line = Mapping[str, Any]
"""A line of steps.jsonl or of evaluations.jsonl, whose entries trainer/README.md lists."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """A run as its sinks see it.

    Attributes
    ----------
    path
        The run folder.
    table
        The run's recipe with every option, of TOML's types.
    started
        Seconds since 1970 at which the run began, in its first session.
    metrics
        Names of what its evaluations measure.
    earlier
        Lines of "steps.jsonl" or "evaluations.jsonl" that earlier sessions left: those after the checkpoint
        that the run resumes from are not among them.
    append
        Adds a line to one of these files.
    """

    path: Path
    table: Mapping[str, Any]
    started: float
    metrics: Sequence[str]
    earlier: Callable[[str], Sequence[Line]]
    append: Callable[[str, Line], None]


class Sink(Protocol):
    """Takes the figures of a run under way, on rank 0, every ``log_every`` steps.

    It waits neither for the device nor for a network. Opened again after an interruption, it holds every
    point once.
    """

    def step(self, line: Line) -> None:
        """Take the figures of the steps since the last line."""

    def evaluation(self, line: Line) -> None:
        """Take an evaluation; its metrics are the table ``line["metrics"]``."""

    def close(self) -> None:
        """Write what is still to be written."""


class SinkConfig(Protocol):
    """A frozen dataclass whose fields are the sink's options."""

    def check(self) -> None:
        """Raise MissingExtraError, before anything is trained, where a package is missing."""

    def open(self, context: SinkContext) -> Sink:
        """Return the sink of a run that begins or resumes.

        Raises
        ------
        RunError, DataError
            When it can't be written to.
        """


STEP_FIGURES = ("loss", "accuracy", "lr", "rate", "progress", "pixels")
"""Entries of a step's line that are worth a curve."""


def figures(line: Line) -> Iterator[tuple[str, float]]:
    """Yield the curves' names and values of a line, such as ("train/loss", 0.3)."""
    if "metrics" in line:
        yield from ((f"test/{name}", value) for name, value in line["metrics"].items())
    else:
        yield from ((f"train/{name}", line[name]) for name in STEP_FIGURES if line.get(name) is not None)
