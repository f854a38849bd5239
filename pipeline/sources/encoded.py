"""What sources of encoded image files share, wherever the files' bytes lie."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError
from pipeline.sources.pixels import decode, is_plain_jpeg


class EncodedImages:
    """Images that are files of some format: decoded from their bytes, or given as they are.

    Attributes
    ----------
    origin
        See `Source`.
    """

    origin: str

    def read(self, index: int) -> NDArray[np.uint8]:
        """Decode image ``index``; see `Source.read`."""
        try:
            return decode(io.BytesIO(self._bytes(index)))
        except Exception as error:  # Pillow's plugins raise whatever the damage leads them to.
            raise self._unreadable(index, error) from None

    def encoded(self, index: int) -> bytes | None:
        """Give image ``index`` as it is where it is an upright RGB or grey JPEG; see `Source.encoded`."""
        try:
            content = self._bytes(index) if self._may_be_jpeg(index) else None
            return content if content is not None and is_plain_jpeg(io.BytesIO(content)) else None
        except Exception as error:
            raise self._unreadable(index, error) from None

    def sample_name(self, index: int) -> str:
        """Name image ``index``; see `Source.sample_name`."""
        raise NotImplementedError

    def _bytes(self, index: int) -> bytes:
        """Give the file of image ``index``; raises whatever keeps it from being read."""
        raise NotImplementedError

    def _may_be_jpeg(self, index: int) -> bool:
        """Whether it is worth looking into: by its name, or by its first bytes where those are at hand."""
        raise NotImplementedError

    def _unreadable(self, index: int, error: Exception) -> CorruptSampleError:
        return CorruptSampleError(
            f"{self.sample_name(index)} of {self.origin} must be a whole image; it can't be decoded "
            f"({error or type(error).__name__}): mend or remove it"
        )


def shards_fingerprint(shards: Sequence[Path]) -> str:
    """Digest names, sizes and times of files; see `Source.fingerprint`."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    return hashlib.sha256(repr(stats).encode()).hexdigest()
