"""Windows: the part of each image to read, and the size to resize it to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Windows:
    """One window per image, in pixels of the stored image.

    Attributes
    ----------
    top, left, height, width
        int64[n]; every window lies within its image and holds at least one pixel.
    flip
        bool[n], whether the window is mirrored left to right.
    """

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    flip: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.top)

    def __getitem__(self, part: slice | NDArray[np.int64]) -> Windows:
        """Return the windows of the given images."""
        return Windows(self.top[part], self.left[part], self.height[part], self.width[part], self.flip[part])


@dataclass(frozen=True, slots=True)
class Crop:
    """Crops of a batch's images: one window per image, each resized to ``height`` x ``width`` pixels."""

    windows: Windows
    height: int
    width: int
