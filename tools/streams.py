"""Standard streams that may go away: their reader has seen enough, a terminal is closed, a disk is full."""

from __future__ import annotations

import os
import sys
from typing import IO, Any, TextIO


def say(line: str) -> None:
    """Write a line to the error stream, where there is still somebody to read it."""
    if sys.stderr is not None:
        Unbroken(sys.stderr).write(f"{line}\n")


class Unbroken:
    """A stream that writing to never fails.

    Once the stream below can't be written to, it leads nowhere, and the error stream is told once. So a run
    goes on when `| head` has seen enough, or nohup's terminal is closed.
    """

    def __init__(self, stream: IO[str] | TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, or lose it."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        # What the stream holds back is written once more at the end, which must not fail either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        if self._stream is not sys.stderr:
            say(f"note: output can't be written any more ({error.strerror}); the command goes on without it")
