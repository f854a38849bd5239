"""Files that a command is asked to write: looked at before the work, so that nothing else is replaced."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from tools.arguments import UsageError


def check_output(option: str, path: Path, example: str, mark: bytes = b"") -> None:
    """Refuse a file that ``option`` can't write, or would write over something else.

    Parameters
    ----------
    option
        As it is typed: ``--out``.
    example
        A name that would do; ``path`` must have its ending.
    mark
        What every file of this command holds. A file that is there and doesn't hold it is another's: a run's
        ledger ends in .json too. Without a mark any file of that ending is replaced.

    Raises
    ------
    UsageError
        On another ending, a folder, another's file, or a place where no file can be made.
    """
    ending = Path(example).suffix
    if path.suffix.lower() != ending:
        raise UsageError(f"{option} must end in {ending}; got {path}: name one such as {example}")
    if path.is_dir():
        raise UsageError(
            f"{option} must be a file; got the folder {path}: name one in it, as {path / example}"
        )
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{option} must be in a folder that can be written to; got {path}: name another")
    if path.exists() and not _holds(path, mark):
        raise UsageError(
            f"{option} must not replace a file that this command didn't write; got {path}: "
            "name another, or move that one away"
        )


def _holds(path: Path, mark: bytes) -> bool:
    """Whether a file holds ``mark``, or nothing that could be lost."""
    if not mark or path.stat().st_size == 0:
        return True
    # Mapped, since a data set that was named by mistake may be larger than memory.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(mark) >= 0
