"""Standard streams that may go away: their reader has seen enough, a terminal is closed, a disk is full."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


def say(line: str) -> None:
    """Write a line to the error stream, where there is still somebody to read it."""
    if sys.stderr is not None:
        Unbroken(sys.stderr, goes_on=True).write(f"{line}\n")


@contextlib.contextmanager
def unbroken_output(*, goes_on: bool = False) -> Iterator[None]:
    """Take no command's work with the reader of what it prints, within.

    Parameters
    ----------
    goes_on
        As of `Unbroken`.
    """
    # Without an output from the start, as after `>&-`, there is nothing to lose.
    with contextlib.ExitStack() as stack:
        if sys.stdout is not None:
            output = cast(TextIO, Unbroken(sys.stdout, goes_on=goes_on))
            stack.enter_context(contextlib.redirect_stdout(output))
        yield


class Unbroken:
    """A stream that may lead nowhere after a while: `| head` has seen enough, nohup's terminal is closed.

    Parameters
    ----------
    goes_on
        Whether the work goes on whatever becomes of the stream, of which the error stream is told once.
        Without it, for commands that only print, a reader that has gone is no matter, and anything else, as a
        full disk, an error.
    """

    def __init__(self, stream: TextIO, *, goes_on: bool) -> None:
        self._stream = stream
        self._goes_on = goes_on

    def write(self, text: str) -> int:
        """Write ``text``, or lose it.

        Raises
        ------
        OSError
            When it can't be written although it has a reader, and the work doesn't go on without.
        """
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            gone = isinstance(error, BrokenPipeError)
            self._lose()
            if not (gone or self._goes_on):
                raise
            if self._goes_on and self._stream is not sys.stderr:
                reason = error.strerror
                say(f"note: output can't be written any more ({reason}); the command goes on without it")
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self) -> None:
        # What the stream holds back is written once more at the end, which must not fail either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
