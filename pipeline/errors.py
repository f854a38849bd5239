"""Exceptions of the data pipeline: one line each."""

from __future__ import annotations

import errno
import os
import unicodedata


class DataError(ValueError):
    """A mistake that the caller can correct: one line with the rule, the value and the remedy."""


class MissingExtraError(DataError):
    """A requested optional dependency isn't installed; the line has the command that installs it."""


class CorruptSampleError(DataError):
    """A sample's bytes can't be read; the line names the file and the sample."""


class UnwritableError(DataError):
    """A file can't be written; the line names it and the system's message."""


class ChangedDataError(DataError):
    """A file was altered while it was being read; the line names it and what changed."""


class MachineError(DataError):
    """Memory, open files, a disk or a mount failed while data was read; the data may be sound."""


_OF_FILES = frozenset(
    (
        errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG,
        errno.ENXIO, errno.ENODEV, errno.EINVAL, errno.EOVERFLOW, errno.EFBIG, errno.ESPIPE, errno.EILSEQ,
    )
)  # fmt: skip
"""System errors caused by a file: its path, permissions and kind, or an offset in it."""


def is_refused(error: BaseException) -> bool:
    """Return whether the machine or the path kept a file from being read; else its content is at fault."""
    if isinstance(error, OSError) and error.errno is not None:
        # Damaged offsets point outside of a file.
        return error.errno not in (errno.EINVAL, errno.EOVERFLOW)
    return machine_fault("", error) is not None


def machine_fault(
    place: str, error: BaseException, memory: str = "free some, or raise its limit"
) -> MachineError | None:
    """Return the error to raise if the machine failed, and not the file; else None.

    Parameters
    ----------
    place
        The file or sample that was read.
    error
        The exception that reading it raised.
    memory
        The remedy if memory ran out.
    """
    # Pillow's decoders have no exception of their own for it.
    exhausted = isinstance(error, OSError) and (
        error.errno == errno.ENOMEM or (error.errno is None and str(error).startswith("out of memory"))
    )
    if exhausted or isinstance(error, MemoryError):
        return MachineError(f"{place} must fit into memory to be read; there was too little: {memory}")
    if not isinstance(error, OSError):
        return None
    number = error.errno or 0
    if number in (errno.EMFILE, errno.ENFILE):
        remedy = "let a process open more by `ulimit -n 65536`"
    elif isinstance(error, ConnectionError | TimeoutError) or (number > 0 and number not in _OF_FILES):
        remedy = "give the same command again once that is mended"
    else:
        return None
    reason = os.strerror(number) if number else " ".join(str(error).split()) or type(error).__name__
    return MachineError(f"{place} must be readable; got {reason}: {remedy}")


def one_line(text: str) -> str:
    r"""Return a text with everything written out that would end its line or can't be encoded.

    >>> one_line("two\nlines"), one_line("caf\udce9")
    ('two\\nlines', 'caf\\xe9')
    """
    return "".join(map(_written_out, text)) if not text.isprintable() else text


def _written_out(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        # A byte of a file's name that isn't UTF-8.
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape").decode()
    return character
