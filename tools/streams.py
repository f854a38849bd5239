"""Standard streams that may break: a closed pipe, a closed terminal, a full disk."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast


def say(line: str) -> None:
    """Write a line to the error stream; do nothing if that is broken."""
    if sys.stderr is not None:
        Unbroken(sys.stderr, goes_on=True).write(f"{line}\n")


@contextlib.contextmanager
def unbroken_output(*, goes_on: bool = False) -> Iterator[None]:
    """Return a context in which a broken output stream doesn't end a command's work.

    Parameters
    ----------
    goes_on
        As in `Unbroken`.
    """
    with contextlib.ExitStack() as stack:
        if sys.stdout is None:
            # There is no output from the start, as after `>&-`; libraries print to it all the same.
            output: TextIO = stack.enter_context(Path(os.devnull).open("w"))
        else:
            output = cast(TextIO, Unbroken(sys.stdout, goes_on=goes_on))
        stack.enter_context(contextlib.redirect_stdout(output))
        yield


class Unbroken:
    """Wrapper of a stream that may break: `| head` has ended, nohup's terminal is closed.

    Parameters
    ----------
    goes_on
        Whether work continues if the stream breaks, after one note on the error stream. Otherwise, for
        commands that only print, a closed pipe is ignored, and anything else, such as a full disk, is an
        error.
    """

    def __init__(self, stream: TextIO, *, goes_on: bool) -> None:
        self._stream = stream
        self._goes_on = goes_on

    def write(self, text: str) -> int:
        """Write ``text``, or drop it if the stream is broken.

        Raises
        ------
        OSError
            If it can't be written although the pipe isn't closed, and ``goes_on`` is False.
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
                say(f"note: output can't be written any more ({reason}); the command continues without it")
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self) -> None:
        # The stream's buffer is flushed again at exit, which must not fail either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
