"""What a command prints, on any terminal: its encoding, and the warnings of the libraries that it uses."""

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
    """Let the standard output and error take any text: what their encoding hasn't is replaced.

    Without this a name that isn't of the terminal's alphabet, or isn't UTF-8 at all, ends a command with a
    traceback, before the work or after it.
    """
    for stream in (sys.stdout, sys.stderr):
        # Within a program of somebody's own they may be anything.
        if isinstance(stream, io.TextIOWrapper):
            universal = stream.encoding.lower().replace("-", "").startswith("utf")
            stream.reconfigure(errors="backslashreplace" if universal else "replace")


class _Count(logging.Handler):
    """Counts what libraries warn of, and keeps the first of it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0
        self.first = ""

    def add(self, text: str) -> None:
        self.count += 1
        self.first = self.first or text

    def tell(self, prog: str) -> None:
        """Print the line, where there is anything to tell."""
        if self.count:
            more = f" and {self.count - 1:,} more" if self.count > 1 else ""
            first = one_line(self.first)[:200]
            say(f"{prog}: libraries warned of: {first}{more}; PYTHONWARNINGS=default prints each as it comes")

    def emit(self, record: logging.LogRecord) -> None:
        self.add(f"{record.name}: {record.getMessage()}")


@contextlib.contextmanager
def counted_warnings(prog: str) -> Iterator[None]:
    """Count the warnings that libraries print, and tell them in one line at the end.

    Where the user asks Python for warnings, by ``-W`` or PYTHONWARNINGS, they are printed as they come.
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
