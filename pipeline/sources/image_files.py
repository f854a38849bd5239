"""Image files on disk, one an image."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError
from pipeline.sources.pixels import decode, is_plain_jpeg

_JPEG_ENDINGS = (".jpeg", ".jpg")


class ImageFiles:
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

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode image ``index``; see `Source.read`."""
        try:
            return decode(io.BytesIO(self._files[index].read_bytes()))
        except Exception as error:  # Pillow's plugins raise whatever the damage leads them to.
            raise self._unreadable(index, error) from None

    def encoded(self, index: int) -> bytes | None:
        """Give the file of image ``index`` where it is an upright RGB or grey JPEG; see `Source.encoded`."""
        path = self._files[index]
        if path.suffix.lower() not in _JPEG_ENDINGS:
            return None
        try:
            content = path.read_bytes()
            return content if is_plain_jpeg(io.BytesIO(content)) else None
        except Exception as error:
            raise self._unreadable(index, error) from None

    def sample_name(self, index: int) -> str:
        """Give the path of image ``index`` within the split."""
        return self._files[index].relative_to(self._root).as_posix()

    def _unreadable(self, index: int, error: Exception) -> CorruptSampleError:
        return CorruptSampleError(
            f"{self._files[index]} must be a whole image file; it can't be decoded "
            f"({error or type(error).__name__}): mend or remove it"
        )
