"""Command lines: typed by tyro, with mistakes told in one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

T = TypeVar("T")


class UsageError(ValueError):
    """A command line that can't be understood."""


def parse(command: type[T], words: Sequence[str], prog: str, **options: Any) -> T:
    """Parse ``words`` into an instance of a command's dataclass.

    Raises
    ------
    UsageError
        When they don't fit; the line says which and what was perhaps meant.
    SystemExit
        With status 0, after ``--help``.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed: T = tyro.cli(command, args=list(words), prog=prog, **options)
            return parsed
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_one_line(said.getvalue(), prog)) from None


def _one_line(boxed: str, prog: str) -> str:
    """The message out of tyro's box, without the box, its title and the option's help text."""
    lines = [line.strip("│ ").strip() for line in boxed.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("╭", "╰"))]
    rules = [i for i, line in enumerate(lines) if set(line) == {"─"}]
    message = " ".join(lines[: rules[0]] if rules else lines)
    meant = re.search(r"Perhaps you meant: (--[\w.-]+)", " ".join(lines))
    if meant:
        message += f"; perhaps you meant {meant[1]}"
    return f"{message}; see `{prog} --help`"


def chosen(words: Sequence[str], option: str) -> list[str]:
    """The values given to ``option`` the last time it stands in ``words``; empty where it doesn't.

    Looked at before the real parsing, since the parts that a person names decide which options there are.
    """
    values: list[str] = []
    for i, word in enumerate(words):
        if word == option:
            rest = words[i + 1 :]
            end = next((j for j, other in enumerate(rest) if other.startswith("--")), len(rest))
            values = list(rest[:end])
        elif word.startswith(option + "="):
            values = [word.partition("=")[2]]
    return values
