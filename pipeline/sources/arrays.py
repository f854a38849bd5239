"""Images that lie in memory as one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError


@dataclass(frozen=True)
class ArraySource:
    """A split whose files are small enough to be read as a whole.

    Attributes
    ----------
    name, split, origin, classes, labels, notes
        See `Source`.
    images
        uint8[n, h, w] for grey, or uint8[n, h, w, 3].

    Raises
    ------
    DataError
        When images and labels don't belong together.
    """

    name: str
    split: str
    origin: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    images: NDArray[np.uint8]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{self.origin} must have a label an image; got {len(self.images):,} images and "
                f"{len(self.labels):,} labels: get the files again"
            )
        outside = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
        if len(outside):
            raise DataError(
                f"a label of {self.origin} must be one of the {len(self.classes)} classes, numbered from 0; "
                f"image {outside[0]} has {self.labels[outside[0]]}: get the files again"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, index: int) -> NDArray[np.uint8]:
        """Copy image ``index``; see `Source.read`."""
        image = self.images[index]
        if image.ndim == 2:
            return np.repeat(image[:, :, None], 3, axis=2)
        return np.array(image)

    def encoded(self, index: int) -> bytes | None:
        """Give None: there are no files to take over."""
        return None

    def sample_name(self, index: int) -> str:
        """Name image ``index`` by its place in the source."""
        return f"{self.split} {index}"
