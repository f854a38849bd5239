"""Image files on disk, one an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError
from pipeline.sources.encoded import EncodedImages

_JPEG_ENDINGS = (".jpeg", ".jpg")


class ImageFiles(EncodedImages):
    """Images in files of their own, with a label each.

    Parameters
    ----------
    name, split, origin, classes, notes
        See `Source`.
    root
        Folder that the files' names are told from.
    files
        Paths below ``root``.
    labels
        One a file.
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
        labels: Sequence[int] | NDArray[np.int64],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.split = split
        self.origin = origin
        self.classes = classes
        self.labels: NDArray[np.int64] = np.array(labels, np.int64)
        self.notes = notes
        self._root = root
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def fingerprint(self) -> str:
        """Digest names, sizes and times of the files; see `Source.fingerprint`."""
        digest = hashlib.sha256()
        for index, path in enumerate(self._files):
            try:
                status = path.stat()
                found = f"{status.st_size} {status.st_mtime_ns}"
            except OSError as error:
                # Reading it will say so in its turn.
                found = str(error.errno)
            digest.update(f"{self.sample_name(index)} {found}\n".encode())
        return digest.hexdigest()

    def sample_name(self, index: int) -> str:
        """Give the path of image ``index`` within the split."""
        return self._files[index].relative_to(self._root).as_posix()

    def _bytes(self, index: int) -> bytes:
        return self._files[index].read_bytes()

    def _may_be_jpeg(self, index: int) -> bool:
        return self._files[index].suffix.lower() in _JPEG_ENDINGS

    def _unreadable(self, index: int, error: Exception) -> CorruptSampleError:
        return CorruptSampleError(
            f"{self._files[index]} must be a whole image file; it can't be decoded "
            f"({error or type(error).__name__}): mend or remove it"
        )
