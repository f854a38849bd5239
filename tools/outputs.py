"""Checks of a command's output files and folders before its work, so that no other file is replaced."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from tools.arguments import UsageError


def check_output(option: str, path: Path, example: str, mark: bytes = b"") -> None:
    """Raise UsageError if the file of ``option`` can't be written, or would replace another kind of file.

    Parameters
    ----------
    option
        The option as typed: ``--out``.
    example
        A valid name; ``path`` must have its suffix.
    mark
        Bytes that every file of this command contains. An existing file without them is of another kind: a
        run's ledger ends in .json, too. Without a mark any file with that suffix is replaced.

    Raises
    ------
    UsageError
        For another suffix, a folder, a file of another kind, or a place where no file can be created.
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


def check_output_folder(path: Path) -> None:
    """Raise UsageError if no files can be written into the folder of ``--out``, which need not exist yet."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out must be a folder; got the file {path}: name another")
    place = next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"files can't be written into {path}: name another folder by --out")


def _holds(path: Path, mark: bytes) -> bool:
    """Return whether a file contains ``mark``, or is empty."""
    if not mark or path.stat().st_size == 0:
        return True
    # Mapped, since a data set named by mistake may be larger than memory.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(mark) >= 0
