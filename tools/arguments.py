"""Command lines: parsed by tyro, with one-line error messages."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

T = TypeVar("T")


class UsageError(ValueError):
    """A command line that can't be parsed."""


def parse(command: type[T], words: Sequence[str], prog: str, **options: Any) -> T:
    """Parse ``words`` into an instance of a command's dataclass.

    Raises
    ------
    UsageError
        If they are invalid; the message names the word, and the likely intended one.
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
    """Return the message in tyro's box, without the box, its title and the option's help text."""
    lines = [line.strip("│ ").strip() for line in boxed.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("╭", "╰"))]
    if "╭" not in boxed:
        # If output isn't UTF-8 there is no box: the title comes first, above a rule.
        lines = lines[2:]
    rules = [i for i, line in enumerate(lines) if set(line) in ({"─"}, {"-"})]
    message = _plain(" ".join(lines[: rules[0]] if rules else lines))
    meant = re.search(r"Perhaps you meant: (--[\w.-]+)", " ".join(lines))
    if meant:
        message += f"; perhaps you meant {meant[1]}"
    return f"{message}; see `{prog} --help`"


def _plain(message: str) -> str:
    """Return a message without tyro's markup; for a value that fits no type, only the expected types.

    >>> _plain("Error parsing --mean: no type matching {None}|{FLOAT FLOAT FLOAT} could be instantiated from"
    ...        " ['0', '0'].  Got errors: - <class 'NoneType'>: ...")
    '--mean must be None or FLOAT FLOAT FLOAT; got 0 0'
    >>> _plain("Missing value for argument '('--mean',)'. Expected 3 values.")
    '--mean must be given 3 values'
    """
    plain = re.sub(r"\[/?bold\]", "", message)
    unfit = re.match(
        r"Error parsing (\S+): no type matching (.+?) could be instantiated from \[(.*?)\]\.\s+Got errors",
        plain,
    )
    # What versions of tyro before 1.0.17 say of an option of several values.
    few = re.match(r"Missing value for argument '\(?'?(--[\w.-]+).*Expected (\d+) values", plain)
    if few:
        return f"{few[1]} must be given {few[2]} values"
    if not unfit:
        return plain
    fitting = re.sub(r"[{}]", "", unfit[2].replace("|", " or "))
    given = " ".join(re.findall(r"""['"](.*?)['"](?:, |$)""", unfit[3]))
    return f"{unfit[1]} must be {fitting}; got {given or 'none'}"


def below_home(word: str) -> str:
    """Expand ``~`` to the home folder in a word of a command line; shells don't after ``=``.

    >>> below_home("--runs-dir=~nobody-of-this-name/runs"), below_home("--name=a~b")
    ('--runs-dir=~nobody-of-this-name/runs', '--name=a~b')
    """
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + os.path.expanduser(value)  # noqa: PTH111  (a Path would change other words)


def chosen(words: Sequence[str], option: str) -> list[str] | None:
    """Return the values of the last occurrence of ``option`` in ``words``; None if it is absent.

    Evaluated before the actual parsing, since the chosen parts determine which options exist.

    >>> chosen(["--augment=standard", "ricap", "-h"], "--augment")
    ['standard', 'ricap']
    """
    values: list[str] | None = None
    for i, word in enumerate(words):
        name, equals, first = word.partition("=")
        if name == option:
            rest = words[i + 1 :]
            # No value begins with a dash, so -h ends the values as --help does.
            end = next((j for j, other in enumerate(rest) if other.startswith("-")), len(rest))
            values = [*([first] if equals else []), *rest[:end]]
    return values


def asks_for_help(words: Sequence[str]) -> bool:
    """Return whether ``words`` request help, which is shown whatever the other words."""
    return "-h" in words or "--help" in words
