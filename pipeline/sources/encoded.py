"""Base class of sources of encoded image files, wherever the files' bytes lie."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError, DataError, machine_fault
from pipeline.modes import Mode
from pipeline.sources.pixels import UnkeptModeError, decode, is_plain_jpeg, kept_mode
from pipeline.targets import TargetKind

LESS_MEMORY = "give fewer --workers, or leave it out by a lower --max-pixels"
"""Remedy if an image doesn't fit into memory."""


class EncodedImages:
    """Images in files of some format, which are decoded, or stored as they are.

    Attributes
    ----------
    origin, kind
        See `Source`.
    mode
        Mode of the images.
    """

    origin: str
    kind: TargetKind = "class"
    mode: Mode = "RGB"

    def in_mode(self, mode: Mode) -> Self:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        other = copy.copy(self)
        other.mode = mode
        return other

    def read(self, index: int) -> NDArray[Any]:
        """Decode image ``index``; see `Source.read`."""
        with self._faults(index):
            return decode(io.BytesIO(self._bytes(index)), self.mode)

    def encoded(self, index: int) -> bytes | None:
        """Return the file of image ``index`` if it is an upright JPEG of the mode; see `Source.encoded`."""
        with self._faults(index):
            content = self._bytes(index) if self._may_be_jpeg(index) else None
            return content if content is not None and is_plain_jpeg(io.BytesIO(content), self.mode) else None

    def kept_mode(self, index: int) -> Mode:
        """Return the mode of the file of image ``index``, by its header.

        Raises
        ------
        CorruptSampleError
            When it can't be read.
        """
        with self._faults(index):
            return kept_mode(io.BytesIO(self._bytes(index)))

    def sample_name(self, index: int) -> str:
        """Name image ``index``; see `Source.sample_name`."""
        raise NotImplementedError

    def _bytes(self, index: int) -> bytes:
        """Return the bytes of image ``index``; may raise any exception."""
        raise NotImplementedError

    def _may_be_jpeg(self, index: int) -> bool:
        """Whether it may be a JPEG, by its name or by its first bytes if they are in memory."""
        raise NotImplementedError

    def _place(self, index: int) -> str:
        """Return the location of image ``index``, for errors."""
        return f"{self.sample_name(index)} of {self.origin}"

    @contextmanager
    def _faults(self, index: int) -> Iterator[None]:
        """Return a context that turns exceptions of reading and decoding into errors that name the image."""
        with decoding(self._place(index)):
            yield


@contextmanager
def decoding(place: str, kind: str = "image file") -> Iterator[None]:
    """Return a context that turns exceptions of reading and decoding an image into errors that name it.

    Raises
    ------
    CorruptSampleError
        When the image is at fault.
    MachineError
        When the machine is: out of memory or of open files, or its disk failed.
    """
    try:
        yield
    except DataError:
        raise
    except UnkeptModeError as error:
        raise CorruptSampleError(f"{place} must {error}") from None
    except Exception as error:  # Pillow's plugins raise arbitrary exceptions on damage.
        fault_of_machine = machine_fault(place, error, LESS_MEMORY)
        if fault_of_machine is not None:
            raise fault_of_machine from None
        if isinstance(error, OSError) and error.errno is not None:
            raise CorruptSampleError(
                f"{place} must be readable; got {error.strerror}: mend its permissions or link, or remove it"
            ) from None
        fault = " ".join(str(error).split()) or type(error).__name__
        raise CorruptSampleError(
            f"{place} must be a whole {kind}; it can't be decoded ({fault}): mend or remove it"
        ) from None


def shards_fingerprint(shards: Sequence[Path]) -> str:
    """Digest names, sizes and times of files; see `Source.fingerprint`."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in shards]
    return hashlib.sha256(repr(stats).encode()).hexdigest()
