"""Base class of augmentations that crop one window of each image and resize it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.augment.protocol import Domain, Draws, HostArrays
from pipeline.crop import Windows
from pipeline.errors import DataError
from pipeline.ops.memory import to_images, to_pixels
from pipeline.ops.resize import resize, taps
from pipeline.randomness import Keys
from pipeline.resolution import MOST_PIXELS


@dataclass(frozen=True, kw_only=True)
class Window:
    """Base class: crops one window of each image and resizes it, bilinearly with antialiasing."""

    size: int | tuple[int, int] | None = None
    """Height and width to resize to, in pixels; by default the image's own, or the run's resolution."""

    domain: ClassVar[Domain] = "uint8"

    def __post_init__(self) -> None:
        if self.size is not None and not min(self.size_of(1, 1)) >= 1:
            raise DataError(f"size must be at least 1 pixel; got {self.size}")
        if self.size is not None and max(self.size_of(1, 1)) > MOST_PIXELS:
            raise DataError(f"size must be at most {MOST_PIXELS} pixels; got {self.size}: take less")

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width."""
        if self.size is None:
            return height, width
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    def sized(self, height: int, width: int) -> Self:
        """Return the same augmentation with another output size."""
        return replace(self, size=(height, width))

    def windows(
        self, keys: Keys, heights: NDArray[np.int64] | int, widths: NDArray[np.int64] | int
    ) -> Windows:
        """Draw the windows; see `Cropping`."""
        raise NotImplementedError

    def draw(self, keys: Keys, height: int, width: int) -> HostArrays:
        """Draw the window's ``top``, ``left``, ``height`` and ``width``, int64[n], and ``flip``, bool[n]."""
        windows = self.windows(keys, height, width)
        return {item.name: getattr(windows, item.name) for item in fields(windows)}

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Crop, resize and flip in one weighted gather."""
        pixels = to_pixels(images)
        height, width = pixels.shape[1:3]
        high, wide = self.size_of(height, width)
        rows = taps(draws["top"], draws["height"], height, high)
        columns = taps(draws["left"], draws["width"], width, wide, draws["flip"])
        return to_images(resize(pixels, rows, columns))
