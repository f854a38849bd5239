"""Input and result of a section of the GPU check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import SubprocessError
from typing import TypeAlias

from tools.bench.clock import Clock

Cell: TypeAlias = "str | float | int | bool | None"
Row: TypeAlias = Mapping[str, Cell]

MACHINE_ERRORS = (RuntimeError, OSError, SubprocessError)
"""Errors for lack of memory, or a missing or failing compiler: other cases may still work."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Input of a section.

    Attributes
    ----------
    device
        "cuda", or "cpu" in smoke mode.
    smoke
        Everything has minimum size, to test only that the section runs.
    clock
        The section's time limit, divided among its cases.
    scratch
        An empty temporary folder, removed after the section.
    out
        The folder of results; files written there are kept.
    data
        The training set of a converted CIFAR-10, if there is one.
    """

    device: str
    smoke: bool
    clock: Clock
    scratch: Path
    out: Path
    data: Path | None = None


@dataclass(slots=True)
class Outcome:
    """Results of a section, for results.json and the page.

    Attributes
    ----------
    facts
        Single values by name.
    tables
        Rows by the table's caption; a row's keys are the columns, and the first is the row's name.
    problems
        One line per error: incorrect results, not low rates.
    notes
        One line per case left out, or condition that results depend on.
    """

    facts: dict[str, Cell] = field(default_factory=dict)
    tables: dict[str, Sequence[Row]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's message, or its type if it has none.

    >>> first_line(RuntimeError("no compiler\n  in PATH")), first_line(OSError())
    ('no compiler', 'OSError')
    """
    return str(error).partition("\n")[0][:200] or type(error).__name__
