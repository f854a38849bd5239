"""Source of images in memory, as one array."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptSampleError, DataError
from pipeline.modes import Mode
from pipeline.sources.labels import check_labels
from pipeline.sources.pixels import UnkeptModeError, array_to_mode
from pipeline.targets import TargetKind


@dataclass(frozen=True)
class ArraySource:
    """A split that is small enough to be read as a whole.

    Attributes
    ----------
    name, split, origin, classes, labels, notes, kind
        See `Source`.
    mode
        Mode of the images that are read.
    images
        [n, h, w] for gray, [n, h, w, c] or [n, c, h, w], each of what `array_to_mode` takes; a map of a file
        serves as well.
    stamp
        The fingerprint, if there is a quicker one than a checksum of all pixels.

    Raises
    ------
    DataError
        When images and labels don't match.
    """

    name: str
    split: str
    origin: str
    classes: tuple[str, ...]
    labels: NDArray[Any]
    images: NDArray[Any]
    notes: tuple[str, ...] = ()
    stamp: str = ""
    kind: TargetKind = "class"
    mode: Mode = "RGB"

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{self.origin} must have one label per image; got {len(self.images):,} images and "
                f"{len(self.labels):,} labels: get the files again"
            )
        if self.kind == "class":
            check_labels(self.labels, len(self.classes), self.origin, remedy="get the files again")

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """Return ``stamp``, or else a checksum of all pixels; see `Source.fingerprint`."""
        if self.stamp:
            return self.stamp
        checksum = 0
        for image in self.images:
            checksum = zlib.crc32(np.ascontiguousarray(image).data, checksum)
        return f"{self.images.shape} {checksum:08x}"

    def in_mode(self, mode: Mode) -> ArraySource:
        """Return the same images in another mode; see `pipeline.sources.protocol.in_mode`."""
        return replace(self, mode=mode)

    def read(self, index: int) -> NDArray[Any]:
        """Copy image ``index``; see `Source.read`."""
        try:
            return array_to_mode(self.images[index], self.mode)
        except UnkeptModeError as error:
            raise CorruptSampleError(f"{self.sample_name(index)} of {self.origin} must {error}") from None
        except ValueError as error:
            raise CorruptSampleError(
                f"{self.sample_name(index)} of {self.origin} must be an image; {error}: mend or remove it"
            ) from None

    def encoded(self, index: int) -> bytes | None:
        """Return None: there are no files to take over."""
        return None

    def sample_name(self, index: int) -> str:
        """Return the name of image ``index``: its number in the source."""
        return f"{self.split} {index}"
