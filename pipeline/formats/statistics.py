"""Mean and standard deviation of pixels from exact integer sums."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SMALL = 1 << 16
"""Images are counted together up to this many pixels, because a call costs as much as ten thousand pixels."""


class PixelSums:
    """Histogram of each channel's values over any number of images.

    Counts are whole numbers, so the order in which images are added, and how they are shared out over
    workers, has no effect on the result.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(768, np.int64)
        self._waiting: list[NDArray[np.uint8]] = []
        self._waiting_pixels = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count the pixels of one image, uint8[h, w, 3]."""
        if image.shape[0] * image.shape[1] >= _SMALL:
            self._fold(image)
            return
        self._waiting.append(image.reshape(-1, 3))
        self._waiting_pixels += len(self._waiting[-1])
        if self._waiting_pixels >= _SMALL:
            self._count()

    def merge(self, other: PixelSums) -> None:
        """Add the counts of another; ``other`` is unchanged except for counting its pending pixels."""
        other._count()
        self._counts += other._counts

    def counts(self) -> list[int]:
        """Return the counts so far: 256 values of red, then of green, then of blue."""
        self._count()
        counts: list[int] = self._counts.tolist()
        return counts

    def merge_counts(self, counts: list[int]) -> None:
        """Add counts returned by `counts`."""
        self._counts += np.array(counts, np.int64)

    def mean_and_std(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return mean and population standard deviation per channel, of pixels scaled to [0, 1]."""
        self._count()
        means, deviations = [], []
        for channel in range(3):
            # As Python's integers, which can't overflow.
            counts = self._counts[256 * channel : 256 * (channel + 1)].tolist()
            pixels = max(sum(counts), 1)
            total = sum(value * count for value, count in enumerate(counts))
            squares = sum(value * value * count for value, count in enumerate(counts))
            variance = Fraction(squares * pixels - total * total, pixels * pixels)
            means.append(float(Fraction(total, 255 * pixels)))
            deviations.append(math.sqrt(variance) / 255)
        return (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])

    def _count(self) -> None:
        if self._waiting:
            self._fold(np.concatenate(self._waiting)[None])
            self._waiting, self._waiting_pixels = [], 0

    def _fold(self, image: NDArray[np.uint8]) -> None:
        # Pillow's histogram is an exact count at a quarter of the cost of np.bincount.
        self._counts += np.array(Image.fromarray(image).histogram(), np.int64)
