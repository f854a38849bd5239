"""A file mapped into memory, with a check that it hasn't changed since."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.bus_error import guard
from pipeline.errors import ChangedDataError, MachineError

_Status = tuple[int, int, int, int]

_UNMAPPED = (errno.ENODEV, errno.EINVAL, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors by which mounts (some of FUSE, of object stores and of virtual machines) refuse maps."""


class MappedFile:
    """A whole file, mapped for reading.

    Other processes can write to a file that is mapped, and its bytes then change under their reader.
    The file's size and modification time show it: `check` compares them. A bus error becomes one line
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
        try:
            self._status, mapped = _map(path)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            self._status, mapped = _map_beyond_the_limit(path)
        self.data: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8)
        guard(self.data, path)

    def check(self, before: MappedFile | None = None) -> None:
        """Check that the file is as it was when it was mapped, and, if given, as ``before`` was.

        A file that has no name any more is as it was: nobody can have opened it since.

        Raises
        ------
        ChangedDataError
            When it was truncated, written to or replaced by another file; the line says which.
        """
        try:
            now = _status(os.stat(self._absolute))  # noqa: PTH116  (half as fast by a Path)
        except OSError:
            # Removed, or unmounted, which reading will show.
            now = self._status
        then = self._status if before is None else before._status
        for status in (self._status, now):
            if status != then:
                raise ChangedDataError(
                    f"{self.path} must stay as it is while it is read; it {_change(then, status)}: get or "
                    "convert it again where it isn't whole, and start again"
                )


def _map(path: Path) -> tuple[_Status, mmap.mmap]:
    with path.open("rb") as file:
        status = _status(os.fstat(file.fileno()))
        try:
            if sys.version_info >= (3, 13):
                # Without a descriptor per map: a set may have more shards than a process may open files.
                return status, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, trackfd=False)
            return status, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            if error.errno not in _UNMAPPED:
                raise
            raise MachineError(
                f"{path} must lie on a file system that maps files into memory; its own doesn't "
                f"({error.strerror}): copy the set to a local disk"
            ) from None


def _map_beyond_the_limit(path: Path) -> tuple[_Status, mmap.mmap]:
    """Map a file when the process may open no more, by raising its own limit.

    Raises
    ------
    MachineError
        When that is too low as well.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        return _map(path)
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        raise MachineError(
            f"{path} can't be mapped beside the files that are open already; this process may open "
            f"{max(soft, hard):,}: raise ulimit -n, or convert the set to a .beton, which is one file"
        ) from None


def _status(found: os.stat_result) -> _Status:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _change(then: _Status, now: _Status) -> str:
    """Return a description of a file's change."""
    if then[:2] != now[:2]:
        return f"was replaced by another file, of {now[2]:,} bytes where it had {then[2]:,}"
    if now[2] < then[2]:
        return f"was truncated, from {then[2]:,} to {now[2]:,} bytes"
    if now[2] > then[2]:
        return f"grew, from {then[2]:,} to {now[2]:,} bytes"
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now[3] / 1e9))
    return f"was written to at {moment}"
