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
    """Wait until an open file is on the disk, as far as its file system can tell."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk; many file systems can't, and the files stand all the same.

    Raises
    ------
    OSError
        When the disk fails or is full.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        # A folder may be written to and not read; some file systems open no folders.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _FAILED:
            raise
    finally:
        os.close(descriptor)


def is_held(error: OSError) -> bool:
    """Whether a file perhaps couldn't be renamed because it is open."""
    return error.errno in _HELD
