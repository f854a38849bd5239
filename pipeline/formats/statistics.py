"""Mean and standard deviation of pixels from exact integer sums."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.modes import PIXELS, Mode

_SMALL = 1 << 16
"""Images are counted together up to this many pixels, because a call costs as much as ten thousand pixels."""


class PixelSums:
    """Histogram of each channel's values over any number of images of 8 bits.

    Counts are whole numbers, so the order in which images are added, and how they are shared out over
    workers, has no effect on the result.
    """

    def __init__(self, channels: int = 3) -> None:
        self._channels = channels
        self._counts: NDArray[np.int64] = np.zeros(256 * channels, np.int64)
        self._waiting: list[NDArray[np.uint8]] = []
        self._waiting_pixels = 0

    def add(self, image: NDArray[np.uint8]) -> None:
        """Count the pixels of one image, uint8[h, w, C]."""
        if image.shape[0] * image.shape[1] >= _SMALL:
            self._fold(image)
            return
        self._waiting.append(image.reshape(-1, self._channels))
        self._waiting_pixels += len(self._waiting[-1])
        if self._waiting_pixels >= _SMALL:
            self._count()

    def merge(self, other: Sums) -> None:
        """Add the counts of another; ``other`` is unchanged except for counting its pending pixels."""
        self.merge_counts(other.counts())

    def counts(self) -> list[int]:
        """Return the counts so far: 256 values of each channel, in turn."""
        self._count()
        counts: list[int] = self._counts.tolist()
        return counts

    def merge_counts(self, counts: list[int]) -> None:
        """Add counts returned by `counts`."""
        self._counts += np.array(counts, np.int64)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and population standard deviation per channel, of pixels scaled to [0, 1]."""
        self._count()
        means, deviations = [], []
        for channel in range(self._channels):
            # As Python's integers, which can't overflow.
            counts = self._counts[256 * channel : 256 * (channel + 1)].tolist()
            pixels = max(sum(counts), 1)
            total = sum(value * count for value, count in enumerate(counts))
            squares = sum(value * value * count for value, count in enumerate(counts))
            variance = Fraction(squares * pixels - total * total, pixels * pixels)
            means.append(float(Fraction(total, 255 * pixels)))
            deviations.append(math.sqrt(variance) / 255)
        return tuple(means), tuple(deviations)

    def _count(self) -> None:
        if self._waiting:
            self._fold(np.concatenate(self._waiting)[None])
            self._waiting, self._waiting_pixels = [], 0

    def _fold(self, image: NDArray[np.uint8]) -> None:
        # Pillow's histogram is an exact count at a quarter of the cost of np.bincount.
        plane = image if self._channels == 3 else image[:, :, 0]
        self._counts += np.array(Image.fromarray(plane).histogram(), np.int64)


class WideSums:
    """Sums of levels and of their squares over any number of images of 16 bits; methods are `PixelSums`'."""

    def __init__(self) -> None:
        # Python's integers, which can't overflow.
        self._sums = [0, 0, 0]

    def add(self, image: NDArray[Any]) -> None:
        """Count the pixels of one image, uint16[h, w, 1]."""
        levels = image.astype(np.uint64)
        # Squares lie below 2**32: 2**32 of them fit.
        self.merge_counts([levels.size, int(levels.sum()), int(np.square(levels).sum())])

    def merge(self, other: Sums) -> None:
        """Add the sums of another."""
        self.merge_counts(other.counts())

    def counts(self) -> list[int]:
        """Return the number of pixels, the sum of their levels, and that of the squares."""
        return list(self._sums)

    def merge_counts(self, counts: list[int]) -> None:
        """Add sums returned by `counts`."""
        self._sums = [mine + more for mine, more in zip(self._sums, counts, strict=True)]

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and population standard deviation, of pixels scaled to [0, 1]."""
        pixels, total, squares = self._sums
        pixels = max(pixels, 1)
        variance = Fraction(squares * pixels - total * total, pixels * pixels)
        return (float(Fraction(total, 65535 * pixels)),), (math.sqrt(variance) / 65535,)


Sums = PixelSums | WideSums


def sums_of(mode: Mode) -> Sums:
    """Return the empty sums of images of a mode."""
    return WideSums() if mode == "I;16" else PixelSums(PIXELS[mode].channels)
