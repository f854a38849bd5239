"""A file mapped into memory, and whether it is still the one that was mapped."""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.bus_error import guard
from pipeline.errors import ChangedDataError

_Status = tuple[int, int, int, int]


class MappedFile:
    """A whole file, mapped for reading.

    Other processes can write to a file that is mapped, and its bytes then change under whoever reads them.
    What the system states of the file tells: `check` looks at it. A bus error is told in one line
    (`pipeline.bus_error`).

    Attributes
    ----------
    path
        The file.
    data
        uint8, all of it.

    Raises
    ------
    OSError, ValueError
        When the file can't be mapped; the latter where it is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # From here on the process may move to another folder.
        self._absolute = path.absolute()
        with path.open("rb") as file:
            self._status = _status(os.fstat(file.fileno()))
            if sys.version_info >= (3, 13):
                # Without a descriptor a map: a data set may have more shards than a process may open files.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
            else:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.data: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8)
        guard(self.data, path)

    def check(self, before: MappedFile | None = None) -> None:
        """Look whether the file is as it was when it was mapped, and, where given, as ``before`` was.

        A file that has no name any more is as it was: nobody can have opened it since.

        Raises
        ------
        ChangedDataError
            When it was truncated, written to or replaced by another file; the line says which.
        """
        try:
            now = _status(os.stat(self._absolute))  # noqa: PTH116  (half as fast by a Path)
        except OSError:
            # Removed, or its mount is gone, which reading will tell.
            now = self._status
        then = self._status if before is None else before._status
        for status in (self._status, now):
            if status != then:
                raise ChangedDataError(
                    f"{self.path} must stay as it is while it is read; it {_change(then, status)}: get or "
                    "convert it anew where it isn't whole, and start again"
                )


def _status(found: os.stat_result) -> _Status:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _change(then: _Status, now: _Status) -> str:
    """Say what became of a file."""
    if then[:2] != now[:2]:
        return f"was replaced by another file, of {now[2]:,} bytes where it had {then[2]:,}"
    if now[2] < then[2]:
        return f"was truncated, from {then[2]:,} to {now[2]:,} bytes"
    if now[2] > then[2]:
        return f"grew, from {then[2]:,} to {now[2]:,} bytes"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now[3] / 1e9))
    return f"was written to at {moment}"
