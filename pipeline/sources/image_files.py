"""Image files on disk, one per image."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError, one_line
from pipeline.sources.encoded import EncodedImages
from pipeline.targets import TargetKind

JPEG_ENDINGS = (".jpeg", ".jpg")


class ImageFiles(EncodedImages):
    """Images in files of their own, with one label each.

    Parameters
    ----------
    name, split, origin, classes, notes
        See `Source`.
    root
        Folder that the files' names are relative to.
    files
        Paths below ``root``.
    labels
        One per file.
    kind
        Kind of the labels; see `Source`.
    """

    def __init__(
        self,
        *,
        name: str,
        split: str,
        origin: str,
        classes: tuple[str, ...],
        root: Path,
        files: Sequence[Path],
        labels: Sequence[int] | NDArray[Any],
        notes: tuple[str, ...] = (),
        kind: TargetKind = "class",
    ) -> None:
        self.name = name
        self.split = split
        self.origin = origin
        self.classes = classes
        self.kind = kind
        self.labels: NDArray[Any] = np.array(labels, np.int64 if kind == "class" else None)
        self.notes = notes
        self._root = root
        self._files = list(files)
        self._seen: NDArray[np.int64] | None = None
        """Size and time of each file when the fingerprint was taken, int64[n, 2]; -1 if unknown."""

    def __len__(self) -> int:
        return len(self._files)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the files; see `Source.fingerprint`."""
        digest = hashlib.sha256()
        seen = np.full((len(self), 2), -1, np.int64)
        for index, path in enumerate(self._files):
            try:
                status = path.stat()
                seen[index] = status.st_size, status.st_mtime_ns
                found = f"{status.st_size} {status.st_mtime_ns}"
            except OSError as error:
                # Reading it will raise in its turn.
                found = str(error.errno)
            digest.update(os.fsencode(self.sample_name(index)) + f"\0{found}\n".encode())
        self._seen = seen
        return digest.hexdigest()

    def sample_name(self, index: int) -> str:
        """Return the path of image ``index`` within the split, as its file system has it."""
        return self._files[index].relative_to(self._root).as_posix()

    def _bytes(self, index: int) -> bytes:
        path = self._files[index]
        # Non-blocking, in case it has become a pipe since it was listed.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is no regular file")
            seen = None if self._seen is None else self._seen[index].tolist()
            if seen not in (None, [-1, -1], [status.st_size, status.st_mtime_ns]):
                raise DataError(
                    f"{one_line(str(path))} must not change while it is converted; its size or time did: "
                    "give the same command again once it is complete"
                )
            return file.read()

    def _may_be_jpeg(self, index: int) -> bool:
        return self._files[index].suffix.lower() in JPEG_ENDINGS

    def _place(self, index: int) -> str:
        return one_line(str(self._files[index]))
