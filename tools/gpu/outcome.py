"""What a section of the GPU check is given, and what it returns."""

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
"""Raised where memory is short, or a compiler is missing or fails: what doesn't need them still works."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how a section works.

    Attributes
    ----------
    device
        "cuda", or "cpu" in smoke mode.
    smoke
        Everything is as small as it can be: only that the section runs is of interest.
    clock
        The section's time, shared out among its cases.
    scratch
        An empty folder of the section's own, removed after it.
    out
        The folder that is sent; what a section writes there stays.
    data
        The training set of a converted CIFAR-10, where there is one.
    """

    device: str
    smoke: bool
    clock: Clock
    scratch: Path
    out: Path
    data: Path | None = None


@dataclass(slots=True)
class Outcome:
    """What a section found; all of it stands in results.json and on the page.

    Attributes
    ----------
    facts
        Single figures by name.
    tables
        Rows by the table's caption; a row's keys are the columns, of which the first names the row.
    problems
        One line per thing that is wrong: these are faults, not slowness.
    notes
        One line per thing that was left out, or that figures depend on.
    """

    facts: dict[str, Cell] = field(default_factory=dict)
    tables: dict[str, Sequence[Row]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def first_line(error: Exception) -> str:
    r"""Return the first line of an error's message, or its type where it has none.

    >>> first_line(RuntimeError("no compiler\n  in PATH")), first_line(OSError())
    ('no compiler', 'OSError')
    """
    return str(error).partition("\n")[0][:200] or type(error).__name__
