"""Center crop, and resizing of the whole image; nothing is random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.augment.window import Window
from pipeline.crop import Windows
from pipeline.errors import DataError
from pipeline.randomness import Keys


@dataclass(frozen=True)
class CenterCrop(Window):
    """Crop the central square and resize it: the usual evaluation of networks trained on random crops."""

    fraction: float = 0.875
    """Side of the square as a fraction of the image's shorter side; 224 of 256 is 0.875."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise DataError(f"fraction must be above 0 and at most 1; got {self.fraction}")

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Return the central square of each image."""
        height = np.broadcast_to(np.asarray(heights, dtype=np.int64), len(keys))
        width = np.broadcast_to(np.asarray(widths, dtype=np.int64), len(keys))
        side = np.maximum(1, np.rint(np.minimum(height, width) * self.fraction).astype(np.int64))
        return Windows(
            top=(height - side) // 2,
            left=(width - side) // 2,
            height=side,
            width=side,
            flip=np.zeros(len(keys), np.bool_),
        )


@dataclass(frozen=True)
class PlacedCrop(Window):
    """Crop a square at a fixed place of the image and resize it: a corner, for test-time augmentation."""

    fraction: float = 0.875
    """Side of the square as a fraction of the image's shorter side."""
    down: float = 0.5
    """Place of the square from the top, 0, to the bottom, 1."""
    across: float = 0.5
    """Place of the square from the left, 0, to the right, 1."""

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Return the square of each image."""
        height = np.broadcast_to(np.asarray(heights, dtype=np.int64), len(keys))
        width = np.broadcast_to(np.asarray(widths, dtype=np.int64), len(keys))
        side = np.maximum(1, np.rint(np.minimum(height, width) * self.fraction).astype(np.int64))
        return Windows(
            top=np.floor((height - side) * self.down).astype(np.int64),
            left=np.floor((width - side) * self.across).astype(np.int64),
            height=side,
            width=side,
            flip=np.zeros(len(keys), np.bool_),
        )


@dataclass(frozen=True)
class Resize(Window):
    """Resize the whole image; a run's resolution inserts this before augmentations that don't crop."""

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Return the whole of each image."""
        height = np.broadcast_to(np.asarray(heights, dtype=np.int64), len(keys)).copy()
        width = np.broadcast_to(np.asarray(widths, dtype=np.int64), len(keys)).copy()
        nothing = np.zeros(len(keys), np.int64)
        return Windows(nothing, nothing.copy(), height, width, np.zeros(len(keys), np.bool_))
