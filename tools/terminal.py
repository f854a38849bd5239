"""Terminal output of commands: its encoding, and warnings of libraries."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from pipeline.errors import one_line
from tools.streams import say


def take_any_text() -> None:
    """Make standard output and error accept any text, replacing characters that their encoding lacks.

    Otherwise a name outside the terminal's encoding, or one that isn't UTF-8 at all, would end a command with
    a traceback, before or after its work.
    """
    for stream in (sys.stdout, sys.stderr):
        # In a user's own program they may be any objects.
        if isinstance(stream, io.TextIOWrapper):
            universal = stream.encoding.lower().replace("-", "").startswith("utf")
            stream.reconfigure(errors="backslashreplace" if universal else "replace")


class _Count(logging.Handler):
    """Counts warnings of libraries, and keeps the first one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.first = ""

    def add(self, text: str) -> None:
        self.count += 1
        self.first = self.first or text

    def tell(self, prog: str) -> None:
        """Print a summary line, if there were warnings."""
        if self.count:
            more = f" and {self.count - 1:,} more" if self.count > 1 else ""
            first = one_line(self.first)[:200]
            say(f"{prog}: warnings of libraries: {first}{more}; PYTHONWARNINGS=default prints each one")

    def emit(self, record: logging.LogRecord) -> None:
        self.add(f"{record.name}: {record.getMessage()}")


@contextlib.contextmanager
def counted_warnings(prog: str) -> Iterator[None]:
    """Return a context that counts warnings of libraries and prints a one-line summary at its end.

    If the user enables warnings by ``-W`` or PYTHONWARNINGS, they are printed as they occur.
    """
    if sys.warnoptions:
        yield
        return
    count = _Count()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        count.add(f"{category.__name__}: {message}")

    root = logging.getLogger()
    with warnings.catch_warnings():
        warnings.showwarning = show
        root.addHandler(count)
        try:
            yield
        finally:
            root.removeHandler(count)
            count.tell(prog)
