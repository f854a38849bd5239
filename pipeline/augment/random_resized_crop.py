"""Random resized crop: a window of random size and shape, resized."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Domain, HostArrays
from pipeline.augment.resize import resize, taps
from pipeline.augment.rows import to_images, to_pixels
from pipeline.batch import Draws
from pipeline.errors import DataError
from pipeline.randomness import Keys, integers, sample_doubles

_TRIES = 10


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a random window and resize it, then flip left to right at random.

    The window's share of the area is drawn evenly, its width / height evenly in the logarithm; up to ten
    draws until one fits into the image, else the largest window in the middle whose shape is allowed (Szegedy
    et al., CVPR 2015, as torchvision draws it). Resized bilinearly and antialiased. The standard augmentation
    of larger images.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the image's area."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height of the window."""
    flip: bool = True
    """Flip half of the images left to right."""
    size: int | None = None
    """Height and width to resize to, in pixels; by default the image's own."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise DataError(
                f"scale must be two shares of the area in (0, 1], smaller first; got {self.scale}"
            )
        if not 0 < self.ratio[0] <= self.ratio[1] < math.inf:
            raise DataError(f"ratio must be two numbers above 0, smaller first; got {self.ratio}")
        if self.size is not None and self.size < 1:
            raise DataError(f"size must be at least 1 pixel; got {self.size}")

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Give the images' size afterwards."""
        return (height, width) if self.size is None else (self.size, self.size)

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the window's ``top``, ``left``, ``height`` and ``width``, int64[n], and ``flip``, bool[n]."""
        uniform = sample_doubles(keys, "random_resized_crop", 2 * _TRIES + 3)
        rows, columns, fits = self._sizes(
            uniform[:, 0 : 2 * _TRIES : 2], uniform[:, 1 : 2 * _TRIES : 2], height, width
        )
        across, down, toss = uniform[:, 2 * _TRIES :].T
        return {
            "top": np.where(fits, integers(down, height - rows + 1), (height - rows) // 2),
            "left": np.where(fits, integers(across, width - columns + 1), (width - columns) // 2),
            "height": rows,
            "width": columns,
            "flip": (toss < 0.5) & self.flip,
        }

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop, resize and flip, all in what is gathered and weighed."""
        pixels = to_pixels(images)
        height, width = pixels.shape[1:3]
        high, wide = self.size_of(height, width)
        rows = taps(draws["top"], draws["height"], height, high)
        columns = taps(draws["left"], draws["width"], width, wide, draws["flip"])
        return to_images(resize(pixels, rows, columns))

    def _sizes(
        self, area: NDArray[np.float64], shape: NDArray[np.float64], height: int, width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Height and width of the first window that fits, and whether one does; from float64[n, 10]."""
        pixels = height * width * (self.scale[0] + (self.scale[1] - self.scale[0]) * area)
        low, high = np.log(self.ratio)
        ratio = np.exp(low + (high - low) * shape)
        columns = np.rint(np.sqrt(pixels * ratio)).astype(np.int64)
        rows = np.rint(np.sqrt(pixels / ratio)).astype(np.int64)
        fitting = (columns > 0) & (columns <= width) & (rows > 0) & (rows <= height)
        first = fitting.argmax(axis=1)[:, None]
        fits = fitting.any(axis=1)
        # As torchvision rounds it, to the nearest whole number.
        most_rows = min(height, round(width / self.ratio[0]))
        most_columns = min(width, round(height * self.ratio[1]))
        return (
            np.where(fits, np.take_along_axis(rows, first, axis=1)[:, 0], most_rows),
            np.where(fits, np.take_along_axis(columns, first, axis=1)[:, 0], most_columns),
            fits,
        )
