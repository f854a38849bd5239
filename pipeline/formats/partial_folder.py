"""Folders that are written atomically: they appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

from pipeline.errors import DataError
from pipeline.formats import disk
from pipeline.formats.whole import partial_path, unwritable


class PartialFolder:
    """A folder being written: locked, and renamed to ``path`` by `publish`; see `pipeline.formats.whole`.

    Parameters
    ----------
    path
        The final name. Its parent folder is made if missing.
    keep
        Keep the files that an earlier writer left there. Where there is no partial folder and one has the
        final name, that one is taken back: its writer was killed after publishing it.

    Attributes
    ----------
    folder
        The folder to write into.
    locked
        As in `pipeline.formats.whole.PartialFile`.

    Raises
    ------
    DataError
        When another process is writing the same folder, or it can't be written to.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path = path
        self.folder = partial_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _restore(path)
            if keep and path.exists() and not self.folder.exists():
                _rename(path, self.folder)
            self.folder.mkdir(exist_ok=True)
            self._lock: int | None = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            self.locked = disk.lock(self._lock)
            # Between open and lock another writer may have published the folder under its final name.
            if os.fstat(self._lock).st_ino != self.folder.stat().st_ino:
                raise BlockingIOError
            if not keep:
                for entry in self.folder.iterdir():
                    entry.unlink()
        except (BlockingIOError, FileNotFoundError):
            self.suspend()
            raise DataError(f"{path} must have one writer at a time; another process is writing it") from None
        except OSError as error:
            self.suspend()
            raise unwritable(path, error) from None

    def publish(self) -> None:
        """Rename the folder to its final name, replacing an older one; its files are on the disk by now."""
        disk.sync_folder(self.folder)
        aside = _aside(self.path)
        if self.path.exists():
            # A folder can't be renamed over one that isn't empty. Killed in between, the next writer puts the
            # old one back.
            _rename(self.path, aside)
        self.folder.replace(self.path)
        disk.sync_folder(self.path.parent)
        # NFS removes no file that is open elsewhere. The next writer tries again.
        with contextlib.suppress(OSError):
            _remove(aside)
        self.suspend()

    def suspend(self) -> None:
        """Close the partial folder and leave it for a writer that keeps it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the partial folder; does nothing once published or suspended."""
        if self._lock is not None:
            # What can't be removed is taken over by the next writer; the error before this one counts.
            with contextlib.suppress(OSError):
                _remove(self.folder)
            self.suspend()


def remove_stale_folder(path: Path) -> None:
    """Remove the partial folder that a killed writer of ``path`` left, unless somebody writes it."""
    try:
        _restore(path)
    except OSError as error:
        raise unwritable(path, error) from None
    if partial_path(path).exists():
        PartialFolder(path).discard()


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def _copied(path: Path) -> Path:
    return path.with_name(f".{path.name}.copied")


def _copying(path: Path) -> Path:
    return path.with_name(f".{path.name}.copying")


def _rename(path: Path, other: Path) -> None:
    """Rename a folder, by a copy where the file system can't rename it.

    An overlay, such as a container's root, renames no folder that comes from a layer beneath (EXDEV). While
    the whole copy bears the name `_copied`, ``path`` may be removed in part.
    """
    try:
        path.replace(other)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    copied, copying = _copied(path), _copying(path)
    shutil.copytree(path, copying, symlinks=True)
    disk.sync_folder(copying)
    copying.replace(copied)
    _remove(path)
    copied.replace(other)


def _restore(path: Path) -> None:
    """Finish what a writer began that was killed while it published ``path``."""
    copied, aside = _copied(path), _aside(path)
    _remove(_copying(path))
    if copied.exists():
        _remove(path)
        copied.replace(path)
    if aside.exists():
        if path.exists():
            _remove(aside)
        else:
            aside.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
