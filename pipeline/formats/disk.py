"""Operations that some file systems refuse: locks, fsync, renaming an open file."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_NO_LOCKS = (*_UNSUPPORTED, errno.ENOLCK, errno.EBADF)
"""NFS without its lock service, and with it for folders; FUSE; parallel file systems without locks."""
_FAILED = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
_HELD = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY)
"""Errors of file servers of other systems when an open file is renamed."""


def lock(descriptor: int) -> bool:
    """Lock an open file or folder for this process, and return whether its file system has locks at all.

    Raises
    ------
    BlockingIOError
        When another process holds the lock.
    OSError
        When locking fails for another reason.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def sync(descriptor: int) -> None:
    """Sync an open file to disk, as far as its file system supports it."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk; many file systems can't, and keep the files all the same.

    Raises
    ------
    OSError
        When the disk fails or is full.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        # A folder may be writable and not readable; some file systems open no folders.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _FAILED:
            raise
    finally:
        os.close(descriptor)


def is_held(error: OSError) -> bool:
    """Whether renaming a file may have failed because it is open."""
    return error.errno in _HELD
