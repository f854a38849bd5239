"""One-line messages for exhausted resources: memory, files, threads, disk space."""

from __future__ import annotations

import errno
import os
import tempfile

_REFUSALS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
)
"""System errors caused by the machine."""

_OF_PATHS = (errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP)
"""System errors caused by a path that was given; others are bugs of this project."""

_SHOWN = 120
"""Maximum length of a path in a message."""

_MEMORY = "free some, lower --batch-size or --threads, or raise the limit (ulimit -v, or the container's)"


def refusal(error: Exception) -> str | None:
    """Return a message with the exhausted resource, or the path that can't be used, and the remedy.

    None for other errors.
    """
    text = str(error).partition("\n")[0]
    if isinstance(error, MemoryError):
        return f"memory must suffice; there is no more to be had ({text or 'none left'}): {_MEMORY}"
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        return f"every library must load; one can't be ({text}): mend its installation, or {_MEMORY}"
    if isinstance(error, RuntimeError):
        # The last one is oneDNN's, whatever it lacks memory for.
        if any(
            words in text for words in ("allocate memory", "out of memory", "could not create a primitive")
        ):
            return f"memory must suffice; there is no more to be had ({text}): {_MEMORY}"
        if "can't start new thread" in text:
            return "threads must be had; the system starts no more: raise ulimit -u, or lower --threads"
    return _of_system(error) if isinstance(error, OSError) else None


def _of_system(error: OSError) -> str | None:
    if error.errno in (None, errno.ENOENT) and error.filename is None and not _has_temporary():
        return (
            "a folder for temporary files must be there, with room in it; none can be written to: name one "
            "by the environment variable TMPDIR"
        )
    reason = os.strerror(error.errno or 0)
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    match error.errno:
        case errno.EMFILE | errno.ENFILE:
            return f"files must be opened; too many are open already{where}: raise ulimit -n"
        case errno.ENOSPC | errno.EDQUOT:
            place = where or f" (of what is printed, or in {_temporary()})"
            return f"a file must have room; its disk has none left{place}: free some"
        case errno.ENOENT if error.filename is None and not _is_somewhere():
            return "the current folder must be there; it was removed: change to another"
        case errno.ENOMEM:
            return f"memory must suffice; there is no more to be had{where}: {_MEMORY}"
    if error.errno in _OF_PATHS and where:
        path = where.strip(" ()")
        shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."
        return (
            f"a path must be one that can be looked up; {shown} can't be ({reason}): mend it, or name another"
        )
    if error.errno in _REFUSALS:
        return f"{where.strip(' ()') or 'a file'} can't be read or written: {reason}"
    return None


def _is_somewhere() -> bool:
    """Return whether the current folder exists."""
    try:
        os.getcwd()  # noqa: PTH109  (Path.cwd, without a path of it)
    except OSError:
        return False
    return True


def _has_temporary() -> bool:
    try:
        tempfile.gettempdir()
    except OSError:
        return False
    return True


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the folder of temporary files"
