"""Random resized crop: a window of random area and aspect ratio, resized."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.augment.window import Window
from pipeline.crop import Windows
from pipeline.errors import DataError
from pipeline.randomness import Keys, integers, sample_doubles

_TRIES = 10


@dataclass(frozen=True)
class RandomResizedCrop(Window):
    """Crop a random window and resize it, then flip horizontally at random.

    The window's area fraction is uniform, its aspect ratio (width / height) log-uniform; up to ten draws
    until one fits into the image, else the largest central window of an allowed aspect ratio (Szegedy et al.,
    CVPR 2015, as in torchvision). Resized bilinearly with antialiasing. The standard augmentation of larger
    images.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest fraction of the image's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio (width / height) of the window."""
    flip: bool = True
    """Flip half of the images horizontally."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise DataError(
                f"scale must be two fractions of the area in (0, 1], smaller first; got {self.scale}"
            )
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise DataError(f"ratio must be two numbers above 0, smaller first; got {self.ratio}")

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Draw a window of each image, and whether it is flipped."""
        height = np.broadcast_to(np.asarray(heights, dtype=np.int64), len(keys))
        width = np.broadcast_to(np.asarray(widths, dtype=np.int64), len(keys))
        uniform = sample_doubles(keys, "random_resized_crop", 2 * _TRIES + 3)
        rows, columns, fits = self._sizes(
            uniform[:, 0 : 2 * _TRIES : 2], uniform[:, 1 : 2 * _TRIES : 2], height, width
        )
        across, down, toss = uniform[:, 2 * _TRIES :].T
        return Windows(
            top=np.where(fits, integers(down, height - rows + 1), (height - rows) // 2),
            left=np.where(fits, integers(across, width - columns + 1), (width - columns) // 2),
            height=rows,
            width=columns,
            flip=(toss < 0.5) & self.flip,
        )

    def _sizes(
        self,
        area: NDArray[np.float64],
        shape: NDArray[np.float64],
        height: NDArray[np.int64],
        width: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return height and width of the first of float64[n, 10] windows that fits, and whether one does."""
        fraction = self.scale[0] + (self.scale[1] - self.scale[0]) * area
        pixels = (height * width)[:, None] * fraction
        low, high = np.log(self.ratio)
        ratio = np.exp(low + (high - low) * shape)
        columns = np.rint(np.sqrt(pixels * ratio)).astype(np.int64)
        rows = np.rint(np.sqrt(pixels / ratio)).astype(np.int64)
        fitting = (columns > 0) & (columns <= width[:, None]) & (rows > 0) & (rows <= height[:, None])
        first = fitting.argmax(axis=1)[:, None]
        fits = fitting.any(axis=1)
        # Rounded to the nearest integer, as in torchvision; a window has at least one pixel.
        most_rows = np.clip(np.rint(width / self.ratio[0]).astype(np.int64), 1, height)
        most_columns = np.clip(np.rint(height * self.ratio[1]).astype(np.int64), 1, width)
        return (
            np.where(fits, np.take_along_axis(rows, first, axis=1)[:, 0], most_rows),
            np.where(fits, np.take_along_axis(columns, first, axis=1)[:, 0], most_columns),
            fits,
        )
