"""Files that are written atomically: they appear under their name whole or not at all."""

from __future__ import annotations

import contextlib
import os
from io import BufferedRandom
from pathlib import Path
from types import TracebackType

from pipeline.errors import DataError, UnwritableError, machine_fault
from pipeline.formats import disk


def partial_path(path: Path) -> Path:
    """Return the path of the partial file of ``path``: a hidden file in the same folder."""
    return path.with_name(f".{path.name}.partial")


class PartialFile:
    """A file being written: locked, and renamed to ``path`` by `publish`.

    The name of the partial file is fixed, so that one which a killed writer left is taken over by the next.
    The lock keeps two writers of one file apart; the kernel frees it when its holder dies.

    Parameters
    ----------
    path
        The final name. Its folder is made if missing.
    keep
        Keep the bytes that an earlier writer left there; else the file is truncated. Where there is no
        partial file and a file has the final name, that one is taken back: its writer was killed after
        publishing it.

    Attributes
    ----------
    locked
        False where the file system has no locks, so that nothing keeps a second writer away.

    Raises
    ------
    DataError
        When another process is writing the same file, or the folder can't be written to.
    """

    def __init__(self, path: Path, *, keep: bool = False) -> None:
        self.path = path
        self._partial = partial_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if keep and path.exists() and not self._partial.exists():
                path.replace(self._partial)
            descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise unwritable(path, error) from None
        try:
            self.locked = disk.lock(descriptor)
            # Between open and lock another writer may have published the file under its final name.
            if os.fstat(descriptor).st_ino != self._partial.stat().st_ino:
                raise BlockingIOError
            if not keep:
                os.ftruncate(descriptor, 0)
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            raise DataError(f"{path} must have one writer at a time; another process is writing it") from None
        except OSError as error:
            os.close(descriptor)
            raise unwritable(path, error) from None
        self.file: BufferedRandom = os.fdopen(descriptor, "r+b")

    def sync(self) -> None:
        """Sync everything written to disk."""
        self.file.flush()
        disk.sync(self.file.fileno())

    def publish(self) -> None:
        """Rename the file to its final name, replacing an older one, and close it."""
        self.sync()
        try:
            self._partial.replace(self.path)
        except OSError as error:
            if not disk.is_held(error):
                raise
            # Closing it first would leave a moment without a lock, so it is done only where it must be.
            self.file.close()
            try:
                self._partial.replace(self.path)
            except OSError:
                self._partial.unlink(missing_ok=True)
                raise
        self.file.close()
        disk.sync_folder(self.path.parent)

    def suspend(self) -> None:
        """Close the partial file and leave it for a writer that keeps it."""
        self.file.close()

    def discard(self) -> None:
        """Remove the partial file; does nothing once published or suspended."""
        if not self.file.closed:
            # One that can't be removed is taken over by the next writer; the error before this one counts.
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)
            # On a full disk the remaining buffer fails once more; it is discarded in any case.
            with contextlib.suppress(OSError):
                self.file.close()

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all, in place of what was there."""
    with PartialFile(path) as partial:
        try:
            partial.file.write(content)
            partial.publish()
        except OSError as error:
            raise unwritable(path, error) from None


def remove_stale(path: Path) -> None:
    """Remove the partial file that a killed writer of ``path`` left, if there is one and nobody writes it."""
    if partial_path(path).exists():
        PartialFile(path).discard()


def unreadable(path: Path, wanted: str, error: Exception) -> DataError:
    """Return the error, one line, that ``path`` can't be read, which must be ``wanted``."""
    reason = getattr(error, "strerror", None) or error
    return machine_fault(str(path), error) or DataError(
        f"{path} must be {wanted} that can be read; it can't be ({reason}): mend its permissions, get it "
        "again, or name another"
    )


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """Return the error, one line, why ``path`` can't be written."""
    return UnwritableError(f"{path} can't be written: {error.strerror or error}")
